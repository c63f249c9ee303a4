"""How samples look on the wire (contract 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.json_text import dump_json
from airflow_provider_modelarts.emulator.state.kinds import IMAGE

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.dataset import Dataset, Sample

# Proposals are stored before the port is known; the gateway replaces this by the emulator's address.
PLACE = "http://storage.invalid"
PRESIGNED_SECONDS = 24 * 3600


class Presigner:
    """Makes image URLs that look like presigned OBS URLs, and that the emulator really serves.

    :param access_key: shown in the URL, as the real service does (quirk 51).
    :param sentinel: how every signature starts; a leak test looks for it.
    """

    def __init__(self, seed: int, access_key: str, sentinel: str) -> None:
        self._seed, self._access_key, self._sentinel = seed, access_key, sentinel

    def signature(self, bucket: str, key: str) -> str:
        """Return the signature that gives access to one object."""
        return self._sentinel + ids.hex_id(self._seed, "presigned", bucket, key)[:12]

    def url(self, bucket: str, key: str, now: float) -> str:
        """Return the URL of one object."""
        return (
            f"{PLACE}/obs/{bucket}/{quote(key)}?AccessKeyId={self._access_key}"
            f"&Expires={int(now) + PRESIGNED_SECONDS}&Signature={self.signature(bucket, key)}"
        )


def _document(
    dataset: Dataset, sample: Sample, presigner: Presigner, now: float, labels: list[dict[str, Any]], **hard: Any
) -> dict[str, Any]:
    """Return what both lists show of a sample, with the metadata keys of the examples (contract 3.3)."""
    kind = dataset.kind.sample_type
    url = presigner.url(dataset.bucket, sample.key, now)
    origin = f"s3://{dataset.bucket}/{sample.key}"
    metadata = {
        "@modelarts:new_source": origin,
        "@modelarts:origin_source": origin,
        "@modelarts:data_checked": True,
        "@modelarts:origin_source_id": sample.sample_id,
        "@modelarts:import_origin": 0,
        "@modelarts:check_result": [
            {"language": language, "result_property": 0, "result_descriptions": []} for language in ("en-us", "zh-cn")
        ],
        **({"@modelarts:source_image_info": url, "@modelarts:size": list(sample.size)} if kind == IMAGE else {}),
        **hard,
        **(sample.metadata or {}),
    }
    return {
        "sample_id": sample.sample_id,
        "sample_type": kind,
        "labels": labels,
        "source": url,
        "preview": url,
        "metadata": metadata,
        "sample_time": sample.time,
        **({"sample_data": data} if (data := dataset.data_of(sample)) else {}),
        **({} if sample.content is None else {"sample_size": len(sample.content)}),
    }


def proposal_json(
    dataset: Dataset, sample: Sample, presigner: Presigner, now: float, labels: list[dict[str, Any]], **hard: Any
) -> bytes:
    """Return a sample of the auto list as JSON; it still counts as unlabeled (contract 8.2, "Before confirmation").

    :param hard: metadata that say how hard the machine found it.
    """
    document = _document(dataset, sample, presigner, now, labels, **hard)
    return dump_json(document | {"sample_status": "UN_ANNOTATION", "annotated_by": ""})  # quirk 1: short form


def sample_document(dataset: Dataset, sample: Sample, presigner: Presigner, now: float) -> dict[str, Any]:
    """Return a sample of the dataset's own list, with its final labels (contract 6.4)."""
    folder, _, name = sample.key.rpartition("/")
    return {
        **_document(dataset, sample, presigner, now, sample.labels),
        "sample_status": "MANUAL_ANNOTATION" if sample.labels else "UN_ANNOTATION",
        "annotated_by": sample.annotated_by,
        "sample_name": name,
        "sample_dir": f"s3://{dataset.bucket}/{folder}/",
        **({} if sample.usage is None else {"sample_usage": sample.usage}),
    }
