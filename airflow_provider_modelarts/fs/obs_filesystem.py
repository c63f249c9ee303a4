"""OBS for fsspec: s3fs, spoken to as OBS wants it. Without Airflow."""

from __future__ import annotations

import re
from typing import Any

from s3fs import S3FileSystem

from airflow_provider_modelarts.client.regions import address_of

_REGION = re.compile(r"https?://obs\.([\w-]+)\.")

OBS_CONFIG: dict[str, Any] = {
    # OBS refuses a bucket in the path, and checksums that newer botocore sends by default.
    "s3": {"addressing_style": "virtual"},
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}
"""Settings of botocore, beside which others may be given."""


class ObsFileSystem(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """Object storage of Huawei Cloud by its S3 interface, as ``fsspec.filesystem("obs", ...)`` gives it.

    :param key: access key
    :param secret: secret key
    :param region: for example ``cn-north-4``: says where OBS is, unless ``endpoint_url`` does
    :param endpoint_url: where OBS is; None: in the region
    :param config_kwargs: settings of botocore, beside :data:`OBS_CONFIG`
    :param client_kwargs: further arguments of botocore's client
    :param options: as s3fs takes them
    :raises ValueError: if neither region nor endpoint says where OBS is: s3fs would ask Amazon
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
        found = _REGION.match(url)
        # Signatures name a region; outside the vendor's addresses any will do.
        named = {"region_name": region or (found[1] if found else "region")}
        super().__init__(
            endpoint_url=url,
            config_kwargs={**OBS_CONFIG, **(config_kwargs or {})},
            client_kwargs={**named, **(client_kwargs or {})},
            **options,
        )
