"""Uploading and deleting samples: contract 6.4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.models import to_object, to_objects, to_text
from airflow_provider_modelarts.client.sample_updates import OWN, SampleOutcome, send_updates
from airflow_provider_modelarts.client.validation import validate_id, validate_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_modelarts.client.requests.sample_files import SampleFile
    from airflow_provider_modelarts.client.transport.transport import Transport


@dataclass(frozen=True, slots=True)
class UploadOutcome:
    """What became of one sample of an upload.

    :param name: the file's name as it was given
    :param ok: True: it is a sample now; False: it was refused; None: unknown, search the samples for its name
    :param sample_id: id of the new sample; None if the service did not tell
    :param path: where its file lies in OBS; None if the service did not tell
    :param error_code: the service's code
    :param error_msg: one line for people
    """

    name: str
    ok: bool | None
    sample_id: str | None = None
    path: str | None = None
    error_code: str | None = None
    error_msg: str | None = None


class SampleFiles:
    """Calls about samples as files of a dataset."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def upload(
        self,
        dataset_id: str,
        samples: Iterable[SampleFile | Mapping[str, Any]],
        *,
        final_annotation: bool | None = None,
        label_format: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Sequence[UploadOutcome]:
        """Add samples to a dataset, in one request of at most 12 MB (contract 6.4).

        It is never sent twice once it may have been carried out; every outcome has ``ok=None`` then.

        :param dataset_id: the dataset
        :param samples: ``SampleFile``, or objects with ``name`` and ``data`` (bytes, or their base64 text)
        :param final_annotation: False: labels of the samples wait for confirmation, which is possible for image
            classification and object detection; None leaves it to the service (they are final)
        :param label_format: text, how labels stand in files
        :param extra: fields of the request that the contract does not know
        :return: an outcome for each sample, in the same order
        :raises InvalidRequest: for no sample, one without file, twice, too large or outside the contract; before
            anything is sent
        :raises ModelArtsError: if the service certainly did not carry the request out
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.sample_files import UploadSamplesRequest

        what = f"upload samples to dataset {validate_id('dataset_id', dataset_id)}"
        given = {
            "samples": validate_list("samples", samples),
            "final_annotation": final_annotation,
            "label_format": label_format,
        }
        body = to_body(UploadSamplesRequest, given, what, extra)
        names = [sample["name"] for sample in body["samples"]]
        answers: list[object] = []

        def write() -> object:
            answers.append(
                self._transport.write(
                    "POST", what, "datasets", dataset_id, "data-annotations", "samples", body=body, own=OWN
                )
            )
            return answers[-1]

        outcomes = send_updates([{"sample_id": name} for name in names], write)
        return _uploaded(outcomes, answers[-1] if answers else None)

    def delete(
        self, dataset_id: str, sample_ids: Iterable[str], *, delete_source: bool = False
    ) -> Sequence[SampleOutcome]:
        """Delete samples with their labels (contract 6.4).

        It is never sent twice once it may have been carried out; every outcome has ``ok=None`` then.

        :param dataset_id: the dataset
        :param sample_ids: the samples
        :param delete_source: also delete their files in OBS
        :return: an outcome for each sample, in the same order; an unknown one fails with ``ModelArts.4420``
        :raises InvalidRequest: for no sample, or one given twice, before anything is sent
        :raises ModelArtsError: if the service certainly did not carry the request out
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.sample_files import DeleteSamplesRequest

        what = f"delete samples of dataset {validate_id('dataset_id', dataset_id)}"
        given = {"samples": validate_list("sample_ids", sample_ids), "delete_source": delete_source}
        body = to_body(DeleteSamplesRequest, given, what)
        path = ("datasets", dataset_id, "data-annotations", "samples", "delete")
        return send_updates(
            [{"sample_id": sample_id} for sample_id in body["samples"]],
            lambda: self._transport.write("POST", what, *path, body=body, own=OWN),
        )


def _uploaded(outcomes: Sequence[SampleOutcome], answer: object) -> Sequence[UploadOutcome]:
    """Add the new samples' ids and paths to the outcomes; results are in the order of the request."""
    parts = to_objects(to_object(answer).get("results"))
    parts = parts if len(parts) == len(outcomes) else [{}] * len(outcomes)
    return tuple(
        UploadOutcome(
            one.sample_id,
            one.ok,
            to_text(part.get("info")) if one.ok else None,
            to_text(part.get("name")) if one.ok else None,
            one.error_code,
            one.error_msg,
        )
        for one, part in zip(outcomes, parts, strict=True)
    )
