"""How samples look on the wire (contract 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_modelarts.emulator.http.messages import dump_json
from airflow_provider_modelarts.emulator.state import ids

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.http.messages import Call
    from airflow_provider_modelarts.emulator.state.dataset import Dataset, Sample

# Fragments are written before the port is known; a page replaces this by the emulator's address.
PLACE = "http://storage.invalid"
PRESIGNED_SECONDS = 24 * 3600


class Presigner:
    """Makes image URLs that look like presigned OBS URLs, and that the emulator really serves.

    :param access_key: shown in the URL, as the real service does (quirk 51).
    :param sentinel: how every signature starts; a leak test looks for it.
    """

    def __init__(self, seed: int, access_key: str, sentinel: str) -> None:
        self._seed = seed
        self._access_key = access_key
        self.sentinel = sentinel

    def signature(self, bucket: str, key: str) -> str:
        """Return the signature that gives access to one object."""
        return self.sentinel + ids.hex_id(self._seed, "presigned", bucket, key)[:12]

    def url(self, bucket: str, key: str, now: float) -> str:
        """Return the URL of one object."""
        expires = int(now) + PRESIGNED_SECONDS
        return (
            f"{PLACE}/obs/{bucket}/{quote(key)}?AccessKeyId={self._access_key}&Expires={expires}"
            f"&Signature={self.signature(bucket, key)}"
        )


def processed(documents: list[dict[str, Any]], call: Call) -> list[dict[str, Any]]:
    """Show `process_parameter` in the URLs of samples (contract 3.1); the image is served as it is."""
    parameter = call.query.get("process_parameter")
    if parameter:
        for document in documents:
            for field in ("source", "preview"):
                url, _, signature = document[field].partition("&Signature=")
                document[field] = f"{url}&x-image-process={quote(parameter, safe='')}&Signature={signature}"
    return documents


def metadata_of(dataset: Dataset, sample: Sample, url: str, hard: dict[str, Any] | None) -> dict[str, Any]:
    """Return a sample's metadata, with the keys of the examples (contract 3.3, SampleMetadata).

    :param hard: what the machine found: coefficient and reasons; None for a sample without a proposal.
    """
    origin = f"s3://{dataset.bucket}/{sample.key}"
    metadata: dict[str, Any] = {
        "@modelarts:new_source": origin,
        "@modelarts:origin_source": origin,
        "@modelarts:source_image_info": url,
        "@modelarts:data_checked": True,
        "@modelarts:origin_source_id": sample.sample_id,
        "@modelarts:import_origin": 0,
        "@modelarts:size": list(sample.size),
        "@modelarts:check_result": [
            {"language": language, "result_property": 0, "result_descriptions": []} for language in ("en-us", "zh-cn")
        ],
    }
    if hard is not None:
        metadata |= hard
    if sample.metadata:
        metadata |= sample.metadata
    return metadata


def proposal_fragment(
    dataset: Dataset,
    sample: Sample,
    presigner: Presigner,
    now: float,
    labels: list[dict[str, Any]],
    hard: dict[str, Any],
    extra: dict[str, Any] | None = None,
) -> bytes:
    """Return a sample of the auto list as JSON; it still counts as unlabeled (contract 8.2, "Before confirmation")."""
    url = presigner.url(dataset.bucket, sample.key, now)
    document: dict[str, Any] = {
        "sample_id": sample.sample_id,
        "sample_type": 0,
        "labels": labels,
        "source": url,
        "preview": url,
        "metadata": metadata_of(dataset, sample, url, hard),
        "sample_time": sample.time,
        "sample_status": "UN_ANNOTATION",  # quirk 1: upper-case short form
        "annotated_by": "",
    }
    if extra:
        document |= extra
    return dump_json(document)


def sample_document(dataset: Dataset, sample: Sample, presigner: Presigner, now: float) -> dict[str, Any]:
    """Return a sample of the dataset's own list, with its final labels (contract 6.4)."""
    url = presigner.url(dataset.bucket, sample.key, now)
    usage = {} if sample.usage is None else {"sample_usage": sample.usage}
    return {
        "sample_id": sample.sample_id,
        "sample_type": 0,
        "labels": sample.labels,
        "source": url,
        "preview": url,
        "metadata": metadata_of(dataset, sample, url, None),
        "sample_time": sample.time,
        "sample_status": "MANUAL_ANNOTATION" if sample.labels else "UN_ANNOTATION",
        "annotated_by": sample.annotated_by,
        "sample_name": sample.key.rpartition("/")[2],
        "sample_dir": f"s3://{dataset.bucket}/{sample.key.rpartition('/')[0]}/",
        **usage,
    }
