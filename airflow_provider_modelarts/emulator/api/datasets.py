"""Datasets, their labels and statistics (contract 6.1, 6.2, 6.5)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.label_updates import WRITTEN, Outcome, answer_batch, failed
from airflow_provider_modelarts.emulator.api.samples import select_samples
from airflow_provider_modelarts.emulator.api.tasks import active_task_ids
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import Call, Reply, json_answer
from airflow_provider_modelarts.emulator.http.paging import boolean, choice, integer, locale, version, window
from airflow_provider_modelarts.emulator.http.schema import LABELS, check
from airflow_provider_modelarts.emulator.state.dataset import names_of

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.dataset import Dataset
    from airflow_provider_modelarts.emulator.state.proposals import OrderedProposals
    from airflow_provider_modelarts.emulator.state.store import Store

# `running_task_type` numbers are not those of tasks (contract 6.1). Other numbers: nothing of that kind runs here.
RUNNING_KINDS = {0: "auto-label", 1: "pre-label", 7: "auto-grouping"}
RUNNING_TYPES = frozenset({*range(8), 10})
LABEL_FIELDS = ("name", "type", "property", "attributes")
WORKSPACE = "0"
PREVIEW = 4
DEPLOY = 10  # CN21's default of running_task_type


def get_dataset(service: Store, call: Call) -> Reply:
    """`GET D` (contract 6.1)."""
    dataset = service.dataset(call.params["dataset_id"])
    return json_answer(_describe(service, dataset, call, with_labels=True))


def list_datasets(service: Store, call: Call) -> Reply:
    """`GET P/datasets` (contract 6.1)."""
    part = window(call, service.variants)
    by_name = choice(call, "sort_by", ("create_time", "dataset_name"), "create_time") == "dataset_name"
    wanted_type = integer(call, "dataset_type")
    _check_version_parameters(call)
    text = call.query.get("search_content", "")
    found = [
        service.dataset(dataset.dataset_id)
        for dataset in service.datasets.values()
        if service.holds_datasets(call.params["project_id"])
        and text in dataset.name
        and wanted_type in (None, dataset.dataset_type)
        and call.query.get("workspace_id") in (None, "", WORKSPACE)
    ]
    if by_name:
        found.sort(key=lambda dataset: dataset.name)
    with_labels = boolean(call, "with_labels")
    with_files = boolean(call, "file_preview")
    datasets = [
        _describe(service, dataset, call, with_labels=with_labels)
        | ({"samples": _preview(service, dataset)} if with_files else {})
        for dataset in part.cut(found)
    ]
    return json_answer({**part.total("total_number", len(found), len(datasets)), "datasets": datasets})


def _check_version_parameters(call: Call) -> None:
    """Check what is about versions and exports, which no dataset here has: these parameters have no effect."""
    for name in ("contain_versions", "support_export"):
        boolean(call, name)
    choice(call, "dataset_version", ("", "v1", "v2", "all"), "")
    if integer(call, "version_format") not in (None, 0, 1, 2):
        raise refuse("0104", f"version_format={call.query['version_format']}")


def _preview(service: Store, dataset: Dataset) -> list[dict[str, Any]]:
    """Return up to four files (contract 6.1, `file_preview`)."""
    now = service.clock.now()
    return [
        {
            "file_id": sample.sample_id,
            "file_Name": sample.key.rpartition("/")[2],
            "url": service.presigner.url(dataset.bucket, sample.key, now),
            "dataset_id": dataset.dataset_id,
            "create_time": sample.time,
            **dict(zip(("width", "height", "depth"), sample.size, strict=True)),
        }
        for sample in list(dataset.samples.values())[:PREVIEW]
    ]


def _describe(service: Store, dataset: Dataset, call: Call, *, with_labels: bool) -> dict[str, Any]:
    work_path = f"/{dataset.bucket}/{dataset.name}/output/"
    inner = f"{work_path}{dataset.name}-{dataset.dataset_id}/"
    body: dict[str, Any] = {
        "dataset_id": dataset.dataset_id,
        "dataset_name": dataset.name,
        "dataset_type": dataset.dataset_type,
        "data_format": "Default",
        "next_version_num": 1,
        "status": dataset.status,
        "data_sources": [{"data_type": 0, "data_path": f"/{dataset.bucket}/{dataset.name}/"}],
        "create_time": int(dataset.created * 1000),
        "update_time": int(dataset.updated * 1000),
        "description": "",
        "total_sample_count": len(dataset.samples),
        "annotated_sample_count": dataset.annotated,
        "unconfirmed_sample_count": dataset.unconfirmed,
        "deleted_sample_count": 0,
        "work_path": work_path,
        "work_path_type": 0,
        "inner_work_path": inner,
        "inner_annotation_path": f"{inner}annotation/",
        "inner_data_path": f"{inner}data/",
        "inner_log_path": f"{inner}logs/",
        "inner_temp_path": f"{inner}temp/",
        "inner_task_path": f"{inner}task/",
        "workspace_id": WORKSPACE,
        "enterprise_project_id": "0",
        "exist_workforce_task": bool(dataset.team_tasks),
        "workforce_task_count": len(dataset.team_tasks),
        "feature_supports": ["0"],
        "managed": False,
        "import_data": False,
        "label_task_count": 1,
        "dataset_format": 0,
        "dataset_version_count": 0,
        "content_labeling": True,
    }
    if with_labels:
        body["labels"] = list(dataset.labels.values())
    if boolean(call, "check_running_task"):
        number = integer(call, "running_task_type", DEPLOY)
        if number is None or number not in RUNNING_TYPES:
            raise refuse("0104", f"running_task_type={number}")
        kind = RUNNING_KINDS.get(number)
        running = active_task_ids(service, dataset, kind) if kind else []
        body |= {"exist_running_task": bool(running), "running_tasks_id": running}
    if service.variants.extra_fields:
        body["emulator_extra"] = {"unknown": [1, 1.0, None]}
    return body


def get_stats(service: Store, call: Call) -> Reply:
    """`GET D/data-annotations/stats` (contract 6.5), of the samples that `sample_state` and `email` ask for.

    total = all = lefted = un_annotation + manual_annotation + auto_annotation, as in the examples: a sample that
    awaits confirmation is counted as auto_annotation and not as un_annotation.
    """
    dataset = service.dataset(call.params["dataset_id"])
    locale(call)
    chosen = select_samples(dataset, call)
    labels: Counter[str] = Counter()
    samples: Counter[str] = Counter()
    for sample in chosen:
        labels.update(label["name"] for label in sample.labels if "name" in label)
        samples.update(names_of(sample))
    total = len(chosen)
    annotated = sum(bool(sample.labels) for sample in chosen)
    waiting = sum(not sample.labels and sample.sample_id in dataset.book for sample in chosen)
    hard = len({proposal.sample_id for proposal in _hard(dataset)} & {sample.sample_id for sample in chosen})
    return json_answer(
        {
            "label_stats": [
                {**label, "count": labels[name], "sample_count": samples[name]}  # quirk 56: independent numbers
                for name, label in dataset.labels.items()
            ],
            "sample_stats": {
                "un_annotation": total - annotated - waiting,
                "all": total,
                "total": total,
                "deleted": 0,
                "manual_annotation": annotated,
                "auto_annotation": waiting,
                "lefted": total,
            },
            "key_sample_stats": {"total": total, "non_key_sample": total - hard, "key_sample": hard},
            "deletion_stats": {},
            "metadata_stats": {},
            "data_spliting_enable": annotated > 0,  # quirk 46: spelled so
        }
    )


def _hard(dataset: Dataset) -> OrderedProposals:
    return dataset.book.select("hard", lambda document: bool(document["metadata"].get("@modelarts:hard")))


def list_labels(service: Store, call: Call) -> Reply:
    """`GET D/data-annotations/labels` (contract 6.2, paging of 0.1: up to 100000)."""
    dataset = service.dataset(call.params["dataset_id"])
    version(call)
    part = window(call, service.variants, maximum=100_000, default=100_000)
    labels = list(dataset.labels.values())
    page = part.cut(labels[::-1] if part.newest_first else labels)
    return json_answer({"labels": page, **part.total("total_number", len(labels), len(page))})


def create_labels(service: Store, call: Call) -> Reply:
    """`POST D/data-annotations/labels` (contract 6.2): a name that is taken fails with 4411."""
    body = call.json()
    dataset = service.dataset(call.params["dataset_id"])
    check(body, LABELS, strict=service.variants.strict_requests)

    def create(label: dict[str, Any]) -> Outcome:
        if label["name"] in dataset.labels:
            return failed("4411", label["name"])
        dataset.add_label(**{field: label[field] for field in LABEL_FIELDS if field in label})
        return WRITTEN

    # A label has no sample id; an injected fault names it by its name.
    named = [{**label, "sample_id": label["name"]} for label in body["labels"]]
    return answer_batch(service, call, named, create)


def get_search_options(service: Store, call: Call) -> Reply:
    """`GET D/data-annotations/search-condition` (contract 6.5)."""
    dataset = service.dataset(call.params["dataset_id"])
    labelers = sorted({sample.annotated_by for sample in dataset.samples.values() if sample.annotated_by})
    metadata: dict[str, set[str]] = {}
    for sample in dataset.samples.values():
        for name, value in (sample.metadata or {}).items():
            if not name.startswith("@modelarts:"):
                metadata.setdefault(name, set()).add(str(value))
    return json_answer(
        {
            "labels": list(dataset.labels.values()),
            "labelers": labelers,
            "metadata": {name: sorted(values) for name, values in metadata.items()},
        }
    )
