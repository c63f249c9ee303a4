"""Datasets, their labels and statistics (contract 6.1, 6.2, 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.label_updates import reply_to_batch
from airflow_provider_modelarts.emulator.api.samples import label_stats, select_samples
from airflow_provider_modelarts.emulator.api.tasks import active_task_ids
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import EXTRA, Call, Reply, json_reply
from airflow_provider_modelarts.emulator.http.paging import read_page
from airflow_provider_modelarts.emulator.http.query import boolean, check_locale, check_version, choice, integer
from airflow_provider_modelarts.emulator.http.schema import LABELS, check

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.dataset import Dataset
    from airflow_provider_modelarts.emulator.state.store import Store

# `running_task_type` numbers are not those of tasks (contract 6.1). Other numbers: nothing of that kind runs here.
RUNNING_KINDS = {0: "auto-label", 1: "pre-label", 7: "auto-grouping"}
RUNNING_TYPES = frozenset({*range(8), 10})
LABEL_FIELDS = ("name", "type", "property", "attributes")
WORKSPACE = "0"
PREVIEW = 4
DEPLOY = 10  # CN21's default of running_task_type


def get_dataset(store: Store, call: Call) -> Reply:
    """`GET D` (contract 6.1)."""
    dataset = store.dataset(call.params["dataset_id"])
    return json_reply({**_describe(store, dataset, call), "labels": list(dataset.labels.values())})


def list_datasets(store: Store, call: Call) -> Reply:
    """`GET P/datasets` (contract 6.1)."""
    page = read_page(call, store.variants)
    by_name = choice(call, "sort_by", ("create_time", "dataset_name"), "create_time") == "dataset_name"
    wanted_type = integer(call, "dataset_type")
    _check_version_parameters(call)
    text = call.query.get("search_content", "")
    found = [
        store.dataset(dataset.dataset_id)
        for dataset in store.datasets.values()
        if call.params["project_id"] == store.identity.project_id
        and text in dataset.name
        and wanted_type in (None, dataset.dataset_type)
        and call.query.get("workspace_id") in (None, "", WORKSPACE)
    ]
    if by_name:
        found.sort(key=lambda dataset: dataset.name)
    with_labels, with_files = boolean(call, "with_labels"), boolean(call, "file_preview")
    shown = []
    for dataset in page.cut(found):
        body = _describe(store, dataset, call)
        if with_labels:
            body["labels"] = list(dataset.labels.values())
        if with_files:
            body["samples"] = _preview(store, dataset)
        shown.append(body)
    return json_reply({**page.total("total_number", len(found), len(shown)), "datasets": shown})


def _check_version_parameters(call: Call) -> None:
    """Check what is about versions and exports, which no dataset here has: these parameters have no effect."""
    for name in ("contain_versions", "support_export"):
        boolean(call, name)
    choice(call, "dataset_version", ("", "v1", "v2", "all"), "")
    if integer(call, "version_format") not in (None, 0, 1, 2):
        raise refuse("ModelArts.0104", f"version_format={call.query['version_format']}")


def _preview(store: Store, dataset: Dataset) -> list[dict[str, Any]]:
    """Return up to four files (contract 6.1, `file_preview`)."""
    now = store.clock.now()
    return [
        {
            "file_id": sample.sample_id,
            "file_Name": sample.key.rpartition("/")[2],
            "url": store.presigner.url(dataset.bucket, sample.key, now),
            "dataset_id": dataset.dataset_id,
            "create_time": sample.time,
            **dict(zip(("width", "height", "depth"), sample.size, strict=True)),
        }
        for sample in list(dataset.samples.values())[:PREVIEW]
    ]


def _describe(store: Store, dataset: Dataset, call: Call) -> dict[str, Any]:
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
        "unconfirmed_sample_count": len(dataset.proposals),
        "deleted_sample_count": 0,
        "work_path": work_path,
        "work_path_type": 0,
        "inner_work_path": inner,
        **{f"inner_{kind}_path": f"{inner}{kind}/" for kind in ("annotation", "data", "temp", "task")},
        "inner_log_path": f"{inner}logs/",
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
        **(EXTRA if store.variants.extra_fields else {}),
    }
    if boolean(call, "check_running_task"):
        given = integer(call, "running_task_type")
        number = DEPLOY if given is None else given
        if number not in RUNNING_TYPES:
            raise refuse("ModelArts.0104", f"running_task_type={number}")
        kind = RUNNING_KINDS.get(number)
        running = active_task_ids(store, dataset, kind) if kind else []
        body |= {"exist_running_task": bool(running), "running_tasks_id": running}
    return body


def get_stats(store: Store, call: Call) -> Reply:
    """`GET D/data-annotations/stats` (contract 6.5), of the samples that `sample_state` and `email` ask for.

    total = all = lefted = un_annotation + manual_annotation + auto_annotation, as in the examples: a sample that
    awaits confirmation is counted as auto_annotation and not as un_annotation.
    """
    dataset = store.dataset(call.params["dataset_id"])
    check_locale(call)
    chosen = {sample.sample_id: sample for sample in select_samples(dataset, call)}
    total = len(chosen)
    annotated = sum(bool(sample.labels) for sample in chosen.values())
    waiting = sum(not sample.labels and sample_id in dataset.proposals for sample_id, sample in chosen.items())
    hard_ones = dataset.proposals.select("hard", lambda document: bool(document["metadata"].get("@modelarts:hard")))
    hard = sum(proposal.sample_id in chosen for proposal in hard_ones)
    return json_reply(
        {
            "label_stats": label_stats(dataset, chosen.values()),
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


def list_labels(store: Store, call: Call) -> Reply:
    """`GET D/data-annotations/labels` (contract 6.2, paging of 0.1: up to 100000)."""
    dataset = store.dataset(call.params["dataset_id"])
    check_version(call)
    page = read_page(call, store.variants, maximum=100_000, default=100_000)
    labels = list(dataset.labels.values())
    shown = page.cut(labels[::-1] if page.newest_first else labels)
    return json_reply({"labels": shown, **page.total("total_number", len(labels), len(shown))})


def create_labels(store: Store, call: Call) -> Reply:
    """`POST D/data-annotations/labels` (contract 6.2): a name that is taken fails with 4411."""
    body = call.json()
    dataset = store.dataset(call.params["dataset_id"])
    check(body, LABELS, strict=store.variants.strict_requests)

    def create(label: dict[str, Any]) -> None:
        if label["name"] in dataset.labels:
            raise refuse("ModelArts.4411", label["name"])
        dataset.add_label(**{field: label[field] for field in LABEL_FIELDS if field in label})

    # A label has no sample id; an injected fault names it by its name.
    named = [{**label, "sample_id": label["name"]} for label in body["labels"]]
    return reply_to_batch(store, call, named, create)


def get_search_options(store: Store, call: Call) -> Reply:
    """`GET D/data-annotations/search-condition` (contract 6.5)."""
    dataset = store.dataset(call.params["dataset_id"])
    labelers = {sample.annotated_by for sample in dataset.samples.values() if sample.annotated_by}
    metadata: dict[str, set[str]] = {}
    for sample in dataset.samples.values():
        for name, value in (sample.metadata or {}).items():
            if not name.startswith("@modelarts:"):
                metadata.setdefault(name, set()).add(str(value))
    return json_reply(
        {
            "labels": list(dataset.labels.values()),
            "labelers": sorted(labelers),
            "metadata": {name: sorted(values) for name, values in metadata.items()},
        }
    )
