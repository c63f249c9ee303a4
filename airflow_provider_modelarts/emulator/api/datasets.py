"""Datasets and their statistics (contract 6.1, 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.busy import asked_failure, refuse_if_busy
from airflow_provider_modelarts.emulator.api.labels import (
    check_update,
    create_label,
    refuse_while_publishing,
    update_label_of,
)
from airflow_provider_modelarts.emulator.api.samples import find_version, label_stats, select_samples
from airflow_provider_modelarts.emulator.api.tasks import active_task_ids
from airflow_provider_modelarts.emulator.api.transfers import take_in
from airflow_provider_modelarts.emulator.api.versions import describe_version, version_filter
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import EXTRA, Call, Refusal, Reply, done, json_reply
from airflow_provider_modelarts.emulator.http.obs_paths import obs_folder
from airflow_provider_modelarts.emulator.http.paging import read_page
from airflow_provider_modelarts.emulator.http.query import boolean, check_locale, choice, integer, moment
from airflow_provider_modelarts.emulator.http.schema import CREATE_DATASET, UPDATE_DATASET, check
from airflow_provider_modelarts.emulator.state import job as jobs
from airflow_provider_modelarts.emulator.state.dataset import USABLE
from airflow_provider_modelarts.emulator.state.hard_reasons import HARD, count_reasons
from airflow_provider_modelarts.emulator.state.kinds import IMAGE, TABLES
from airflow_provider_modelarts.emulator.state.store import UnknownObjectError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.emulator.state.dataset import Dataset, Sample
    from airflow_provider_modelarts.emulator.state.job import Job
    from airflow_provider_modelarts.emulator.state.store import Store

# `running_task_type` numbers are not those of tasks (contract 6.1). Other numbers: nothing of that kind runs here.
RUNNING_KINDS = {0: "auto-label", 1: "pre-label", 7: "auto-grouping"}
RUNNING_TYPES = frozenset({*range(8), 10})
# The same for what is no labeling task.
RUNNING_JOBS = {2: jobs.EXPORT, 3: jobs.SWITCH, 5: jobs.IMPORT, 6: jobs.PUBLISH}
WORKSPACE = "0"
PREVIEW = 4
DEPLOY = 10  # CN21's default of running_task_type
LONGEST_PATH = 700  # characters of a work path (contract 6.1)
DAY = 24 * 3600 * 1000  # milliseconds between two points of a series
# Series of contract 6.1, `metrics`, that are always empty here: they belong to team labeling and deployments.
EMPTY_SERIES = ("failed_user", "queuing", "success", "unfinished", "failed", "failed_system")


def create_dataset(store: Store, call: Call) -> Reply:
    """`POST P/datasets` (contract 6.1): 201; its status is 0 until its files have been read."""
    body = call.json()
    check(body, CREATE_DATASET, strict=store.variants.strict_requests)
    limit, name = store.variants.max_datasets, body["dataset_name"]
    if limit is not None and len(store.datasets) >= limit:
        raise refuse("ModelArts.4354", limit)
    if store.is_taken(name):
        raise refuse("ModelArts.4351", name)
    data_path, work_path = _paths(body)
    names = [label["name"] for label in body.get("labels") or ()]
    if len(set(names)) < len(names):
        raise refuse("ModelArts.4411", next(one for one in names if names.count(one) > 1))
    dataset = store.new_dataset(name, body.get("dataset_type", 0), data_path=data_path, work_path=work_path)
    dataset.description = body.get("description", "")
    source = (body.get("data_sources") or [{}])[0]
    dataset.schema, dataset.has_header = body.get("schema") or [], source.get("with_column_header", False)
    dataset.imports_data = body.get("import_data", False)
    for label in body.get("labels") or ():
        create_label(dataset, label)

    def finish(_: Job) -> None:
        # Contract 6.1: the data of tables are read only if that was asked for.
        if data_path and (dataset.dataset_type != TABLES or dataset.imports_data):
            take_in(store, dataset, with_labels=body.get("import_annotations", True))

    dataset.begin(store.new_job(dataset, jobs.CREATE, body, finish, asked_failure(call)))
    return json_reply({"dataset_id": dataset.dataset_id}, status=201)


def _paths(body: dict[str, Any]) -> tuple[str, str]:
    """Return input folder (empty without one) and work path of a new dataset.

    :raises Refusal: the rules of contract 6.1 for `data_sources` and `work_path`.
    """
    sources = body.get("data_sources", [{}])
    if len(sources) != 1:
        raise refuse("ModelArts.0104", f"{len(sources)} data_sources")
    given = sources[0].get("data_path")
    data_path = "" if given is None else obs_folder(given)
    if len(body["work_path"]) > LONGEST_PATH:
        raise refuse("ModelArts.4350")
    work_path = obs_folder(body["work_path"])
    is_bucket = work_path.count("/") < 3  # "/bucket/" has two
    if is_bucket or (data_path and work_path.startswith(data_path)):
        raise refuse("ModelArts.4374", work_path)
    return data_path, work_path


def update_dataset(store: Store, call: Call) -> Reply:
    """`PUT D` (contract 6.1): all of it or nothing."""
    body = call.json()
    dataset = store.dataset(call.params["dataset_id"])
    check(body, UPDATE_DATASET, strict=store.variants.strict_requests)
    name = body.get("dataset_name", dataset.name)
    if name != dataset.name and store.is_taken(name):
        raise refuse("ModelArts.4351", name)
    version_id = body.get("current_version_id")
    if version_id:
        refuse_if_busy(dataset)
        if find_version(dataset, version_id).status(store.clock.now()) != USABLE:
            raise refuse("ModelArts.4824", version_id)
    _update_labels(dataset, body)
    dataset.name, dataset.description = name, body.get("description", dataset.description)
    dataset.updated = store.clock.now()
    if version_id and version_id != dataset.current_version:
        _switch(store, call, dataset, version_id)
    return json_reply({"dataset_id": dataset.dataset_id})


def _update_labels(dataset: Dataset, body: dict[str, Any]) -> None:
    """Add, change and delete labels; the label set is put back if one of them is refused."""
    lists = {name: body.get(name) or () for name in ("add_labels", "update_labels", "delete_labels")}
    if not any(lists.values()):
        return
    refuse_while_publishing(dataset)
    unknown = [label["name"] for label in lists["delete_labels"] if label["name"] not in dataset.labels]
    if unknown:
        raise refuse("ModelArts.4410", unknown[0])
    before = dict(dataset.labels)
    try:
        for label in lists["add_labels"]:
            create_label(dataset, label)
        for label in lists["update_labels"]:
            check_update(dataset, label)
    except Refusal:
        dataset.labels = before
        raise
    for label in lists["update_labels"]:
        update_label_of(dataset, label)
    for label in lists["delete_labels"]:
        dataset.remove_label(label["name"])


def _switch(store: Store, call: Call, dataset: Dataset, version_id: str) -> None:
    """Begin to switch to a version: at the end samples and labels are those of the version."""

    def finish(_: Job) -> None:
        if version_id in dataset.versions:
            dataset.switch_to(dataset.versions[version_id], store.clock.now())

    dataset.begin(store.new_job(dataset, jobs.SWITCH, {}, finish, asked_failure(call)))


def delete_dataset(store: Store, call: Call) -> Reply:
    """`DELETE D` (contract 6.1): 204; its files stay. Not while a labeling task is active: 403 4803."""
    dataset = store.dataset(call.params["dataset_id"])
    active = active_task_ids(store, dataset, None)
    if active:
        raise refuse("ModelArts.4803", active[0])
    for sample in dataset.samples.values():
        file = store.stored(dataset, sample).bare()
        store.files.setdefault(file.path, file)
    del store.datasets[dataset.dataset_id]
    return done(with_body=store.variants.body_with_204)


def get_metrics(store: Store, call: Call) -> Reply:
    """`GET D/metrics` (contract 6.1): one point for each day, and one for the end of the time asked for."""
    dataset = store.dataset(call.params["dataset_id"])
    start, end = moment(call, "start_time"), moment(call, "end_time")
    if end < start:
        raise refuse("ModelArts.0104", f"end_time={end}")
    team_task = call.query.get("workforce_task_id")
    if team_task and team_task not in dataset.team_tasks:
        raise UnknownObjectError("ModelArts.4619", team_task)
    first, last = max(start, int(dataset.created * 1000)), min(end, int(store.clock.now() * 1000))
    points = [*range(first, last, DAY), last] if first <= last else []
    samples = list(dataset.samples.values())
    labeled = {point: sum(bool(one.labels) and one.time <= point for one in samples) for point in points}
    total = len(samples)
    series = {
        "un_annotation": {str(point): total - count for point, count in labeled.items()},
        "total": {str(point): total for point in points},
        "manual_annotation": {str(point): count for point, count in labeled.items()},
        **{name: {} for name in EMPTY_SERIES},
    }
    return json_reply({"metrics": series})


def get_dataset(store: Store, call: Call) -> Reply:
    """`GET D` (contract 6.1)."""
    dataset = store.dataset(call.params["dataset_id"])
    return json_reply({**_describe(store, dataset, call), "labels": list(dataset.labels.values())})


def list_datasets(store: Store, call: Call) -> Reply:
    """`GET P/datasets` (contract 6.1)."""
    page = read_page(call, store.variants)
    by_name = choice(call, "sort_by", ("create_time", "dataset_name"), "create_time") == "dataset_name"
    wanted_type = integer(call, "dataset_type")
    boolean(call, "support_export")
    choice(call, "dataset_version", ("", "v1", "v2", "all"), "")
    has_versions, fits = boolean(call, "contain_versions"), version_filter(call)
    is_filtered = bool(call.query.get("version_format") or call.query.get("train_evaluate_ratio"))
    text = call.query.get("search_content", "")
    found = [
        store.dataset(dataset.dataset_id)
        for dataset in store.datasets.values()
        if call.params["project_id"] == store.identity.project_id
        and text in dataset.name
        and wanted_type in (None, dataset.dataset_type)
        and call.query.get("workspace_id") in (None, "", WORKSPACE)
        and (not is_filtered or any(map(fits, dataset.versions.values())))
    ]
    if by_name:
        found.sort(key=lambda dataset: dataset.name)
    with_labels, with_files = boolean(call, "with_labels"), boolean(call, "file_preview")
    shown = []
    for dataset in page.cut(found):
        body = _describe(store, dataset, call)
        if with_labels:
            body["labels"] = list(dataset.labels.values())
        if has_versions:
            versions = [version for version in reversed(dataset.versions.values()) if fits(version)]
            body["versions"] = [describe_version(store, dataset, version) for version in versions]
        if with_files:
            body["samples"] = _preview(store, dataset)
        shown.append(body)
    return json_reply({**page.total("total_number", len(found), len(shown)), "datasets": shown})


def _preview(store: Store, dataset: Dataset) -> list[dict[str, Any]]:
    """Return up to four files (contract 6.1, `file_preview`)."""

    def sides(sample: Sample) -> dict[str, int]:
        return dict(zip(("width", "height", "depth"), sample.size, strict=True))

    now = store.clock.now()
    return [
        {
            "file_id": sample.sample_id,
            "file_Name": sample.key.rpartition("/")[2],
            "url": store.presigner.url(dataset.bucket, sample.key, now),
            "dataset_id": dataset.dataset_id,
            "create_time": sample.time,
            **(sides(sample) if dataset.kind.sample_type == IMAGE else {}),
        }
        for sample in list(dataset.samples.values())[:PREVIEW]
    ]


def _describe(store: Store, dataset: Dataset, call: Call) -> dict[str, Any]:
    inner, current = dataset.inner_path, dataset.versions.get(dataset.current_version or "")
    body: dict[str, Any] = {
        "dataset_id": dataset.dataset_id,
        "dataset_name": dataset.name,
        "dataset_type": dataset.dataset_type,
        "data_format": "Default",
        "next_version_num": dataset.made["version number"] + 1,
        "status": dataset.status,
        "data_sources": [{"data_type": 0, "data_path": dataset.data_path}],
        "create_time": int(dataset.created * 1000),
        "update_time": int(dataset.updated * 1000),
        "description": dataset.description,
        **({} if current is None else {"current_version_id": current.version_id, "current_version_name": current.name}),
        "total_sample_count": len(dataset.samples),
        "annotated_sample_count": dataset.annotated,
        "unconfirmed_sample_count": len(dataset.proposals),
        "deleted_sample_count": dataset.deleted,
        "work_path": dataset.work_path,
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
        "import_data": dataset.imports_data,
        "label_task_count": 1,
        "dataset_format": int(dataset.dataset_type == TABLES),
        **({"schema": dataset.schema} if dataset.schema else {}),
        "dataset_version_count": len(dataset.versions),
        "content_labeling": True,
        **(EXTRA if store.variants.extra_fields else {}),
    }
    if boolean(call, "check_running_task"):
        given = integer(call, "running_task_type")
        number = DEPLOY if given is None else given
        if number not in RUNNING_TYPES:
            raise refuse("ModelArts.0104", f"running_task_type={number}")
        running = _running(store, dataset, number)
        body |= {"exist_running_task": bool(running), "running_tasks_id": running}
    return body


def _running(store: Store, dataset: Dataset, number: int) -> list[str]:
    """Return the ids of what runs of a kind of `running_task_type` (contract 6.1)."""
    if number in RUNNING_KINDS:
        return active_task_ids(store, dataset, RUNNING_KINDS[number])
    now = store.clock.now()
    found = dataset.jobs_of(RUNNING_JOBS.get(number, ""))
    return [job.job_id for job in found if not job.is_over(now)]


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
    hard_ones = _hard_ones(dataset, chosen)
    hard = len(hard_ones)
    return json_reply(
        {
            "label_stats": label_stats(dataset, chosen.values()),
            "sample_stats": {
                "un_annotation": total - annotated - waiting,
                "all": total,
                "total": total,
                "deleted": dataset.deleted,
                "manual_annotation": annotated,
                "auto_annotation": waiting,
                "lefted": total,
            },
            "key_sample_stats": {"total": total, "non_key_sample": total - hard, "key_sample": hard},
            **({"hard_detail_stats": count_reasons(hard_ones)} if hard_ones else {}),
            "deletion_stats": {},
            "metadata_stats": {},
            "data_spliting_enable": annotated > 0,  # quirk 46: spelled so
        }
    )


def _hard_ones(dataset: Dataset, chosen: Mapping[str, Sample]) -> list[dict[str, Any]]:
    """Return metadata and labels of those of the chosen samples that are hard: as proposed, or as they were written."""
    proposed = dataset.proposals.select("hard", lambda document: bool(document["metadata"].get(HARD)))
    found = [proposal.data() for proposal in proposed if proposal.sample_id in chosen]
    return found + [
        {"metadata": sample.metadata, "labels": sample.labels}
        for sample_id, sample in chosen.items()
        if sample.metadata and sample.metadata.get(HARD) and sample_id not in dataset.proposals
    ]


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
