"""Uploading and deleting samples (contract 6.4)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.label_rules import check_forms, check_rules
from airflow_provider_modelarts.emulator.api.label_updates import labels_to_write, reply_to_batch
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import Call, Refusal, Reply, json_reply
from airflow_provider_modelarts.emulator.http.obs_paths import obs_path
from airflow_provider_modelarts.emulator.http.schema import DELETE_SAMPLES, UPLOAD_SAMPLES, check
from airflow_provider_modelarts.emulator.state.dataset import PUBLISHING, Dataset, Sample
from airflow_provider_modelarts.emulator.state.documents import proposal_json
from airflow_provider_modelarts.emulator.state.hard_reasons import HARD
from airflow_provider_modelarts.emulator.state.job import BUSY, IMPORT, SYNC
from airflow_provider_modelarts.emulator.state.kinds import CLASSIFICATION, DETECTION, IMAGE, TABLE, TEXT
from airflow_provider_modelarts.emulator.state.storage import StoredFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_modelarts.emulator.state.store import Store

LARGEST = 12_582_912  # bytes of one sample (contract 7.3, "samples")
# Contract 6.4: `final_annotation=false` for these types only.
LABELED_BY_MACHINE = frozenset({CLASSIFICATION, DETECTION})
SIZE = "@modelarts:size"


def upload_samples(store: Store, call: Call) -> Reply:
    """`POST D/data-annotations/samples` (contract 6.4): each sample succeeds or fails for itself."""
    body = call.json()
    dataset = store.dataset(call.params["dataset_id"])
    check(body, UPLOAD_SAMPLES, strict=store.variants.strict_requests)
    is_final = body.get("final_annotation", True)
    if not is_final and dataset.dataset_type not in LABELED_BY_MACHINE:
        raise refuse("ModelArts.4383", f"final_annotation of type {dataset.dataset_type}")
    if dataset.status == PUBLISHING:
        raise refuse("ModelArts.4381")
    results = []
    for given in body["samples"]:
        try:
            sample = _upload(store, dataset, given, is_final=is_final)
            results.append({"success": True, "name": dataset.path_of(sample), "info": sample.sample_id})
        except Refusal as refusal:
            failed = {"success": False, "error_code": refusal.code, "error_msg": refusal.message}
            results.append(failed | {"name": given["name"]})
    return json_reply({"success": all(result["success"] for result in results), "results": results})


def _upload(store: Store, dataset: Dataset, given: dict[str, Any], *, is_final: bool) -> Sample:
    """Store one file and make a sample of it, with its labels.

    :raises Refusal: the sample cannot be made.
    """
    name = given["name"].rpartition("/")[2]
    path = f"/{dataset.bucket}/{dataset.key_of(name)}"
    if any(sample.key == dataset.key_of(name) for sample in dataset.samples.values()):
        raise refuse("ModelArts.4422", name)
    check_forms(dataset, name, given.get("labels") or (), strict=store.variants.strict_requests)
    labels = labels_to_write(store, dataset, {**given, "sample_id": name}, only_known=False) or []
    file = _read_file(store, dataset, given, path)
    check_rules(dataset, name, labels, _text_of(dataset, file, name))
    store.files[path] = file
    (sample,) = store.add_files(dataset, [file])
    metadata = {key: value for key, value in (given.get("metadata") or {}).items() if key != SIZE}
    annotate(store, dataset, sample, replace(file, labels=tuple(labels), metadata=metadata or None), is_final=is_final)
    return sample


def _text_of(dataset: Dataset, file: StoredFile, name: str) -> str | None:
    """Return the content of a text or table.

    :raises Refusal: ModelArts.4421: it is in another encoding than was said.
    """
    if file.content is None or dataset.kind.sample_type not in (TEXT, TABLE):
        return None
    try:
        return file.content.decode(file.encoding)
    except UnicodeDecodeError:
        raise refuse("ModelArts.4421", f"{name} is not in {file.encoding}") from None


def _read_file(store: Store, dataset: Dataset, given: dict[str, Any], path: str) -> StoredFile:
    """Return the file of a sample to upload: its bytes, or a file that lies in the object storage already."""
    if given.get("data_source"):
        place = obs_path(given["data_source"].get("data_path", ""))
        found = next((file for file in store.files_below(place) if file.path == place), None)
        if found is None:
            raise refuse("ModelArts.4651", place)
        return replace(found.bare(), path=path)
    try:
        content = base64.b64decode(given.get("data", ""), validate=True)
    except (binascii.Error, ValueError):
        raise refuse("ModelArts.4421", f"{given['name']}: data is not base64") from None
    if not content:
        raise refuse("ModelArts.4421", f"{given['name']} is empty")
    if len(content) > LARGEST:
        raise refuse("ModelArts.4656", given["name"])
    if dataset.kind.sample_type != IMAGE:
        return StoredFile(path, content=content, encoding=given.get("encoding", "UTF-8"))
    from airflow_provider_modelarts.emulator.data.images import Uploads

    images = dataset.images if isinstance(dataset.images, Uploads) else Uploads()
    size = images.add(content)
    if size is not None:
        return StoredFile(path, size, images=images, image=len(images) - 1)
    width, height, depth = [*((given.get("metadata") or {}).get(SIZE) or (64, 64)), 3][:3]
    return StoredFile(path, (width, height, depth))


def annotate(store: Store, dataset: Dataset, sample: Sample, file: StoredFile, *, is_final: bool) -> None:
    """Give a sample what is annotated beside its file: metadata, usage and labels.

    :param is_final: whether the labels are final, or wait to be confirmed (contract 6.4, `final_annotation`).
    """
    hard = {HARD: True} if file.hard else {}
    sample.metadata = (sample.metadata or {}) | hard | (file.metadata or {}) or None
    sample.usage = file.usage if file.usage is not None else sample.usage
    # A manifest of another type of dataset may list labels that this one cannot have.
    fitting = dataset.kind.label_types
    labels = [label for label in file.labels if label.get("type", dataset.dataset_type) in fitting]
    if not labels:
        return
    now = store.clock.now()
    dataset.add_labels_of(labels)
    if is_final:
        dataset.set_labels(sample, labels, f"human/{store.identity.domain}/{store.identity.user}", now)
    else:
        numbered = [{**dataset.stored(label), "id": str(number)} for number, label in enumerate(labels, 1)]
        fragment = proposal_json(dataset, sample, store.presigner, now, numbered)
        dataset.proposals.replace([(sample.sample_id, fragment)], keep=True)


def delete_samples(store: Store, call: Call) -> Reply:
    """`POST D/data-annotations/samples/delete` (contract 6.4): unknown ones fail with 4420, the others are deleted."""
    body = call.json()
    dataset = store.dataset(call.params["dataset_id"])
    check(body, DELETE_SAMPLES, strict=store.variants.strict_requests)
    if dataset.status in (BUSY[SYNC], BUSY[IMPORT]):
        raise refuse("ModelArts.4424")
    if dataset.status == PUBLISHING:
        raise refuse("ModelArts.4381")

    def delete(named: dict[str, Any]) -> None:
        if named["sample_id"] not in dataset.samples:
            raise refuse("ModelArts.4420", named["sample_id"])
        delete_samples_of(store, dataset, [named["sample_id"]], delete_source=bool(body.get("delete_source")))

    return reply_to_batch(store, call, [{"sample_id": sample_id} for sample_id in body["samples"]], delete)


def delete_samples_of(store: Store, dataset: Dataset, sample_ids: Sequence[str], *, delete_source: bool) -> None:
    """Take samples out of a dataset; their files stay in the object storage, or go as well."""
    for sample_id in sample_ids:
        sample = dataset.samples[sample_id]
        path = dataset.path_of(sample)
        if delete_source:
            store.files.pop(path, None)
        elif sample.key not in dataset.missing:
            store.files.setdefault(path, store.stored(dataset, sample).bare())
        dataset.remove_sample(sample_id, store.clock.now())
