"""Lists of samples: those awaiting confirmation, and the dataset's own (contract 3 and 6.4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.filters import Filter, read_filter, read_state
from airflow_provider_modelarts.emulator.http.messages import JSON_HEADERS, Call, Reply, dump_json, json_answer
from airflow_provider_modelarts.emulator.http.paging import (
    IMAGE,
    SAMPLE_TYPES,
    boolean,
    integer,
    locale,
    version,
    window,
)
from airflow_provider_modelarts.emulator.state.documents import processed, sample_document

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.dataset import Dataset, Sample
    from airflow_provider_modelarts.emulator.state.proposals import Proposal
    from airflow_provider_modelarts.emulator.state.store import Store

# What hard-example reasons mean, for single-sample calls (contract 3.3 `hard_details`, 7.5).
REASONS = {
    1: ("low confidence", "Check the label by eye."),
    3: ("far from the training data of its class", "Label more samples like it."),
    4: ("similar neighbors are predicted differently", "Compare it with its neighbors."),
    24: ("the prediction changes after a translation", "Add shifted images to the training data."),
}
ABSENT_FIELDS = ("sample_usage", "deletion_reasons", "sub_sample_url", "hard_details", "score")


def list_proposals(service: Store, call: Call) -> Reply:
    """`GET D/auto-annotations/samples` (contract 3.1).

    The total is independent of paging and the order is stable (contract 10, row "Auto list").
    """
    dataset = service.dataset(call.params["dataset_id"])
    part = window(call, service.variants)
    wanted = read_filter(call, service.clock.now())
    found = dataset.book.select(wanted.key, wanted.matches)
    if service.variants.repeat_rows:
        page = part.cut(list(found))
    else:
        page = found.page(part.first(len(found)), part.limit, newest_first=part.newest_first)
    total = dump_json(part.total("sample_count", len(found), len(page)))
    # As bytes: the samples are kept as they are served.
    head = total[:-1] + (b"," if len(total) > len(b"{}") else b"")
    body = b'%s"samples":[%s]}' % (head, b",".join(_fragments(service, call, wanted, page)))
    _shrink(service, dataset)
    return Reply(200, body, JSON_HEADERS)


def get_proposal(service: Store, call: Call) -> Reply:
    """`GET D/auto-annotations/samples/{sample_id}` (contract 3.2): 400 4420 for an unknown id."""
    dataset = service.dataset(call.params["dataset_id"])
    proposal = dataset.book.get(call.params["sample_id"])
    if proposal is None:
        raise service.unknown("4420", call.params["sample_id"])
    document = _varied(service, proposal.data())
    reasons = document["metadata"].get("@modelarts:hard_reasons") or []
    details = {
        str(reason): {"id": reason, "alo_name": f"reason_{reason}", "reason": text, "suggestion": advice}
        for reason, (text, advice) in REASONS.items()
        if reason in reasons
    }
    if details:
        document["hard_details"] = details
    return json_answer(document)


def _fragments(service: Store, call: Call, wanted: Filter, page: list[Proposal]) -> list[bytes]:
    variants = service.variants
    process = call.query.get("process_parameter")
    is_trimmed = variants.trim_labels_to_filter and wanted.matches is not None
    is_varied = variants.hard != "bool" or variants.score != "number" or variants.extra_fields or variants.null_fields
    if not (process or is_trimmed or is_varied):
        return [proposal.fragment for proposal in page]
    documents = [_varied(service, proposal.data()) for proposal in page]
    for document in documents:
        if is_trimmed:
            document["labels"] = [label for label in document["labels"] if wanted.keeps_label(label)]
    return [dump_json(document) for document in processed(documents, call)]


def _varied(service: Store, document: dict[str, Any]) -> dict[str, Any]:
    """Return a sample with the switched-on quirks of contract 10, row "Variants"."""
    variants = service.variants
    metadata = document["metadata"]
    if "@modelarts:hard" in metadata:
        hard = bool(metadata["@modelarts:hard"])
        forms = {"bool": hard, "number": int(hard), "text": str(hard).lower()}
        metadata["@modelarts:hard"] = forms[variants.hard]  # quirk 2
    if variants.score == "text":
        for label in document["labels"]:
            if "score" in label:
                label["score"] = json.dumps(label["score"])
    if variants.extra_fields:
        document["emulator_extra"] = {"unknown": [1, 1.0, None]}
        for label in document["labels"]:
            label["emulator_extra"] = 1.0
    if variants.null_fields:
        document |= {field: None for field in ABSENT_FIELDS if field not in document}
    return document


def _shrink(service: Store, dataset: Dataset) -> None:
    """Let a person confirm the newest proposals (contract 10: "shrinking list while paging")."""
    count = service.variants.shrink_list
    if count:
        everything = dataset.book.select(None, None)
        for proposal in everything.page(0, count, newest_first=True):
            sample = dataset.samples[proposal.sample_id]
            dataset.set_labels(sample, proposal.data()["labels"], "human/emulator/reviewer", service.clock.now())


def list_samples(service: Store, call: Call) -> Reply:
    """`GET D/data-annotations/samples` (contract 6.4)."""
    dataset = service.dataset(call.params["dataset_id"])
    part = window(call, service.variants)
    locale(call)
    boolean(call, "preview")  # the preview's URL is always shown
    version(call)
    now = service.clock.now()
    wanted = read_filter(call, now)
    found = select_samples(dataset, call)
    if wanted.matches is not None:
        # A sample without labels has no score to compare; label filters ask for labeled ones.
        documents = [sample_document(dataset, sample, service.presigner, now) for sample in found]
        documents = [document for document in documents if wanted.matches(document)]
        total, page = len(documents), part.cut(documents)
    else:
        total = len(found)
        page = [sample_document(dataset, sample, service.presigner, now) for sample in part.cut(found)]
    return json_answer({**part.total("sample_count", total, len(page)), "samples": processed(page, call)})


def select_samples(dataset: Dataset, call: Call) -> list[Sample]:
    """Return the samples that `sample_state`, `sample_type` and `email` ask for, oldest first."""
    state, email = read_state(call), call.query.get("email")
    kind = integer(call, "sample_type")
    if kind not in (None, *SAMPLE_TYPES):
        raise refuse("0104", f"sample_type={kind}")
    if kind not in (None, IMAGE):  # quirk 36: the documented default would hide all images
        return []
    return [
        sample
        for sample in dataset.samples.values()
        if _is_in_state(dataset, sample, state) and (not email or sample.annotated_by == f"human/{email}")
    ]


def _is_in_state(dataset: Dataset, sample: Sample, state: str) -> bool:
    if state == "":
        return True
    if state == "__all__":  # contract 6.4: it means labeled, not every sample
        return bool(sample.labels)
    if state == "__none__":
        return not sample.labels
    # The states of team labeling match no sample of a dataset's own list.
    return state == "__auto_annotation__" and sample.sample_id in dataset.book


def get_sample(service: Store, call: Call) -> Reply:
    """`GET D/data-annotations/samples/{sample_id}` (contract 6.4): 400 4420 for an unknown id."""
    dataset = service.dataset(call.params["dataset_id"])
    locale(call)
    read_state(call)
    sample = dataset.samples.get(call.params["sample_id"])
    if sample is None:
        raise service.unknown("4420", call.params["sample_id"])
    return json_answer(sample_document(dataset, sample, service.presigner, service.clock.now()))


def get_image(service: Store, call: Call) -> Reply:
    """`GET /obs/{bucket}/{key}`: the image behind a presigned URL (quirk 51)."""
    bucket, key = call.params["bucket"], call.params["key"]
    if call.query.get("Signature") != service.presigner.signature(bucket, key):
        raise refuse("0108", status=403)
    for dataset in service.datasets.values():
        for sample in dataset.samples.values():
            if dataset.bucket == bucket and sample.key == key and sample.image is not None and dataset.images:
                return Reply(200, dataset.images.png(sample.image), (("Content-Type", "image/png"),))
    raise refuse("4420", key, status=404)
