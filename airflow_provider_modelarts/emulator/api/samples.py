"""Lists of samples: those awaiting confirmation, and the dataset's own (contract 3 and 6.4)."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.filters import Filter, read_filter, read_state
from airflow_provider_modelarts.emulator.http.messages import EXTRA, JSON_HEADERS, Call, Reply, json_reply
from airflow_provider_modelarts.emulator.http.paging import read_page
from airflow_provider_modelarts.emulator.http.query import boolean, check_locale, integer
from airflow_provider_modelarts.emulator.state.documents import sample_document
from airflow_provider_modelarts.emulator.state.hard_reasons import explained
from airflow_provider_modelarts.emulator.state.json_text import dump_json
from airflow_provider_modelarts.emulator.state.kinds import CONTENT_TYPES, SAMPLE_TYPES
from airflow_provider_modelarts.emulator.state.store import UnknownObjectError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from airflow_provider_modelarts.emulator.state.dataset import Dataset, Sample, Version
    from airflow_provider_modelarts.emulator.state.proposals import Proposal
    from airflow_provider_modelarts.emulator.state.store import Store
    from airflow_provider_modelarts.emulator.state.team import Copy
    from airflow_provider_modelarts.emulator.variants import Variants

ABSENT_FIELDS = ("sample_usage", "deletion_reasons", "sub_sample_url", "hard_details", "score")


def list_proposals(store: Store, call: Call) -> Reply:
    """`GET D/auto-annotations/samples` (contract 3.1).

    The total is independent of paging and the order is stable (contract 10, row "Auto list").
    """
    dataset = store.dataset(call.params["dataset_id"])
    page = read_page(call, store.variants)
    wanted = read_filter(call, store.clock.now())
    found = dataset.proposals.select(wanted.key, wanted.matches)
    if store.variants.repeat_rows:
        shown = page.cut(list(found))
    else:
        shown = found.page(page.first(len(found)), page.limit, newest_first=page.newest_first)
    total = dump_json(page.total("sample_count", len(found), len(shown)))
    # As bytes: the samples are kept as they are served.
    head = total[:-1] + (b"," if len(total) > len(b"{}") else b"")
    body = b'%s"samples":[%s]}' % (head, b",".join(_fragments(store, call, wanted, shown)))
    _shrink(store, dataset)
    return Reply(200, body, JSON_HEADERS)


def _fragments(store: Store, call: Call, wanted: Filter, shown: list[Proposal]) -> list[bytes]:
    """Return proposals as they are served, as far as possible in the bytes that are kept."""
    variants = store.variants
    is_trimmed = variants.trim_labels_to_filter and wanted.matches is not None
    is_varied = variants.hard != "bool" or variants.score != "number" or variants.extra_fields or variants.null_fields
    if not (call.query.get("process_parameter") or is_trimmed or is_varied):
        return [proposal.fragment for proposal in shown]
    documents = [varied(variants, proposal.data()) for proposal in shown]
    for document in documents:
        if is_trimmed:
            document["labels"] = [label for label in document["labels"] if wanted.keeps_label(label)]
    return [dump_json(document) for document in processed(documents, call)]


def get_proposal(store: Store, call: Call) -> Reply:
    """`GET D/auto-annotations/samples/{sample_id}` (contract 3.2): 400 4420 for an unknown id."""
    dataset = store.dataset(call.params["dataset_id"])
    proposal = dataset.proposals.get(call.params["sample_id"])
    if proposal is None:
        raise UnknownObjectError("ModelArts.4420", call.params["sample_id"])
    document = varied(store.variants, proposal.data())
    return json_reply(explained(document))


def varied(variants: Variants, document: dict[str, Any]) -> dict[str, Any]:
    """Return a proposal, which it changes, with the switched-on quirks of contract 10, row "Variants"."""
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
        document |= EXTRA
        for label in document["labels"]:
            label["emulator_extra"] = 1.0
    if variants.null_fields:
        document |= {field: None for field in ABSENT_FIELDS if field not in document}
    return document


def processed(documents: list[dict[str, Any]], call: Call) -> list[dict[str, Any]]:
    """Show `process_parameter` in the URLs of samples (contract 3.1); the image is served as it is."""
    parameter = quote(call.query.get("process_parameter", ""), safe="")
    if parameter:
        for document in documents:
            for field in ("source", "preview"):
                url, _, signature = document[field].partition("&Signature=")
                document[field] = f"{url}&x-image-process={parameter}&Signature={signature}"
    return documents


def _shrink(store: Store, dataset: Dataset) -> None:
    """Let a person confirm the newest proposals (contract 10: "shrinking list while paging")."""
    everything = dataset.proposals.select(None, None)
    for proposal in everything.page(0, store.variants.shrink_list, newest_first=True):
        sample = dataset.samples[proposal.sample_id]
        dataset.set_labels(sample, proposal.data()["labels"], "human/emulator/reviewer", store.clock.now())


def list_samples(store: Store, call: Call) -> Reply:
    """`GET D/data-annotations/samples` (contract 6.4)."""
    dataset = store.dataset(call.params["dataset_id"])
    page = read_page(call, store.variants)
    check_locale(call)
    boolean(call, "preview")  # the preview's URL is always shown
    version = asked_version(dataset, call)
    now = store.clock.now()
    wanted = read_filter(call, now)
    found = select_samples(dataset, call, version)
    if wanted.matches is not None:
        # A sample without labels has no score to compare; label filters ask for labeled ones.
        documents = [sample_document(dataset, sample, store.presigner, now) for sample in found]
        documents = [document for document in documents if wanted.matches(document)]
        total, shown = len(documents), page.cut(documents)
    else:
        total = len(found)
        shown = [sample_document(dataset, sample, store.presigner, now) for sample in page.cut(found)]
    return json_reply({**page.total("sample_count", total, len(shown)), "samples": processed(shown, call)})


def asked_version(dataset: Dataset, call: Call) -> Version | None:
    """Return the published version that `version_id` asks for; None: the present state.

    :raises UnknownObjectError: 400 ModelArts.4353 for an unknown one (contract 7.3, "unknown object").
    """
    version_id = call.query.get("version_id")
    return find_version(dataset, version_id) if version_id else None


def find_version(dataset: Dataset, version_id: str) -> Version:
    """Return a version of a dataset.

    :raises UnknownObjectError: there is none (400 ModelArts.4353).
    """
    version = dataset.versions.get(version_id)
    if version is None:
        raise UnknownObjectError("ModelArts.4353", version_id)
    return version


def select_samples(dataset: Dataset, call: Call, version: Version | None = None) -> list[Sample]:
    """Return the samples that `sample_state`, `sample_type` and `email` ask for, oldest first.

    :param version: samples of this version instead of the present ones; none of them awaits confirmation.
    """
    state, email = read_state(call), call.query.get("email")
    kind = integer(call, "sample_type")
    if kind not in (None, *SAMPLE_TYPES):
        raise refuse("ModelArts.0104", f"sample_type={kind}")
    if kind not in (None, dataset.kind.sample_type):  # quirk 36: the documented default would hide all images
        return []
    samples = (dataset if version is None else version).samples.values()
    waiting = dataset.proposals if version is None else ()
    return [
        sample
        for sample in samples
        if is_in_state(sample, state, waiting) and (not email or sample.annotated_by == f"human/{email}")
    ]


def is_in_state(sample: Sample, state: str, waiting: Container[str]) -> bool:
    """Whether a sample is in a state of contract 6.4, given in lower case.

    :param waiting: the ids of the samples that await confirmation.
    """
    if state == "":
        return True
    if state == "__all__":  # contract 6.4: it means labeled, not every sample
        return bool(sample.labels)
    if state == "__none__":
        return not sample.labels
    # The states of team labeling match no sample of a dataset's own list.
    return state == "__auto_annotation__" and sample.sample_id in waiting


def label_stats(dataset: Dataset | Version, labeled: Iterable[Sample | Copy]) -> list[dict[str, Any]]:
    """Return how often each label was given, and to how many samples (quirk 56: independent numbers).

    :param dataset: whose label set it is.
    :param labeled: samples, or members' copies of samples.
    """
    names = [[label["name"] for label in one.labels if "name" in label] for one in labeled]
    labels = Counter(name for given in names for name in given)
    samples = Counter(name for given in names for name in set(given))
    return [{**label, "count": labels[name], "sample_count": samples[name]} for name, label in dataset.labels.items()]


def get_sample(store: Store, call: Call) -> Reply:
    """`GET D/data-annotations/samples/{sample_id}` (contract 6.4): 400 4420 for an unknown id."""
    dataset = store.dataset(call.params["dataset_id"])
    check_locale(call)
    read_state(call)
    sample = dataset.samples.get(call.params["sample_id"])
    if sample is None:
        raise UnknownObjectError("ModelArts.4420", call.params["sample_id"])
    return json_reply(explained(sample_document(dataset, sample, store.presigner, store.clock.now())))


def get_image(store: Store, call: Call) -> Reply:
    """`GET /obs/{bucket}/{key}`: the file behind a presigned URL (quirk 51)."""
    bucket, key = call.params["bucket"], call.params["key"]
    if call.query.get("Signature") != store.presigner.signature(bucket, key):
        raise refuse("ModelArts.0108")
    for dataset in store.datasets.values():
        for sample in dataset.samples.values():
            if dataset.bucket != bucket or sample.key != key:
                continue
            if sample.content is not None:
                content_type = CONTENT_TYPES.get(dataset.kind.sample_type, "application/octet-stream")
                return Reply(200, sample.content, (("Content-Type", content_type),))
            if sample.image is not None and dataset.images:
                return Reply(200, dataset.images.png(sample.image), (("Content-Type", "image/png"),))
    raise refuse("ModelArts.4420", key, status=404)
