"""OBS for fsspec: s3fs, spoken to as OBS wants it. Without Airflow."""

from __future__ import annotations

import re
from typing import Any

from s3fs import S3FileSystem

from airflow_provider_modelarts.client.regions import address_of

_REGION = re.compile(r"https?://obs\.([\w-]+)\.")
_OF_AMAZON = re.compile(r"arn:|.*--(x|op)-s3$")

OBS_CONFIG: dict[str, Any] = {
    # OBS refuses a bucket in the path, and checksums that newer botocore sends by default.
    "s3": {"addressing_style": "virtual"},
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}
"""Settings of botocore, beside which others may be given."""


class ObsFileSystem(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """Object storage of Huawei Cloud by its S3 interface, as ``fsspec.filesystem("obs", ...)`` gives it.

    :param key: access key; with ``anon=True`` or ``session`` it is left out
    :param secret: secret key
    :param region: for example ``cn-north-4``: says where OBS is, unless ``endpoint_url`` does
    :param endpoint_url: where OBS is; None: in the region
    :param config_kwargs: settings of botocore, beside :data:`OBS_CONFIG`
    :param client_kwargs: further arguments of botocore's client
    :param options: as s3fs takes them
    :raises ValueError: if neither region nor endpoint says where OBS is: s3fs would ask Amazon. If there is no key: it
        would take Amazon's from the environment, or ask the machine for one
    """

    protocol = ("obs",)

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        config_kwargs: dict[str, Any] | None = None,
        client_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        url = endpoint_url or (address_of("obs", region) if region else None)
        if url is None:
            raise ValueError("obs:// needs region or endpoint_url, such as https://obs.cn-north-4.myhuaweicloud.com")
        has_key = options.get("key") and options.get("secret")
        if not (has_key or options.get("anon") or options.get("session")):
            raise ValueError("obs:// needs key and secret, the access key of OBS, or anon=True for what all may read")
        found = _REGION.match(url)
        # Signatures name a region; outside the vendor's addresses any will do.
        named = {"region_name": region or (found[1] if found else "region")}
        super().__init__(
            endpoint_url=url,
            config_kwargs={**OBS_CONFIG, **(config_kwargs or {})},
            client_kwargs={**named, **(client_kwargs or {})},
            **options,
        )

    def split_path(self, path: str) -> tuple[str, str, str | None]:
        """Return bucket, key and version of a path.

        :raises ValueError: for what names a place of Amazon's: botocore would go there, whatever the endpoint is
        """
        bucket, key, version = super().split_path(path)
        if _OF_AMAZON.match(bucket):
            raise ValueError(f"{bucket} is no bucket of OBS, but a place that only Amazon has: look at the URI")
        return bucket, key, version
