"""Imports, exports, and the synchronization with the input folder (contract 6.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.busy import asked_failure, refuse_if_busy
from airflow_provider_modelarts.emulator.api.sample_files import LABELED_BY_MACHINE, annotate
from airflow_provider_modelarts.emulator.api.samples import find_version, is_in_state
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.filters import search_any
from airflow_provider_modelarts.emulator.http.messages import Call, Reply, json_reply
from airflow_provider_modelarts.emulator.http.obs_paths import obs_folder, obs_path
from airflow_provider_modelarts.emulator.http.paging import read_page
from airflow_provider_modelarts.emulator.http.query import integer
from airflow_provider_modelarts.emulator.http.schema import EXPORT, IMPORT, check
from airflow_provider_modelarts.emulator.state import job as jobs
from airflow_provider_modelarts.emulator.state.dataset import split
from airflow_provider_modelarts.emulator.state.documents import sample_document
from airflow_provider_modelarts.emulator.state.hard_reasons import without_hardness
from airflow_provider_modelarts.emulator.state.store import UnknownObjectError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_modelarts.emulator.state.dataset import Dataset, Sample
    from airflow_provider_modelarts.emulator.state.job import Job
    from airflow_provider_modelarts.emulator.state.storage import StoredFile
    from airflow_provider_modelarts.emulator.state.store import Store

NOT_EXIST = "NOT_EXIST"
IMPORT_TYPES = {"dir": 0, "manifest": 1}  # quirk 41: text in the request, a number in the answer
# `export_type` (contract 6.6).
LABELED, UNLABELED, ALL, BY_CONDITION = 0, 1, 2, 3
STATE_OF_TYPE = {LABELED: "__all__", UNLABELED: "__none__", ALL: "", BY_CONDITION: ""}
EXPORT_DEFAULTS = {"export_type": ALL, "version_format": "Default", "export_format": 2}
PARAMETER_DEFAULTS = {
    "sample_state": "",
    "export_dest": "DIR",
    "clear_hard_property": True,
    "train_sample_ratio": 1.0,
    "ratio_sample_usage": False,
}


# --- imports


def start_import(store: Store, call: Call) -> Reply:
    """`POST D/import-tasks` (contract 6.6)."""
    body = call.json()
    dataset = store.dataset(call.params["dataset_id"])
    check(body, IMPORT, strict=store.variants.strict_requests)
    refuse_if_busy(dataset)
    if body.get("import_origin", "obs") not in ("obs", "inference"):
        raise refuse("ModelArts.4396", f"import_origin={body['import_origin']}")  # the others are for table data
    is_final = body.get("final_annotation", True)
    if not is_final and dataset.dataset_type not in LABELED_BY_MACHINE:
        raise refuse("ModelArts.4383", f"final_annotation of type {dataset.dataset_type}")
    files = _files_to_import(store, dataset, body)
    if not files:
        raise refuse("ModelArts.4340", body["import_path"])

    def finish(job: Job) -> None:
        job.counts = _import(store, dataset, body, files, is_final=is_final)

    prefix = f"{dataset.dataset_id}_"  # contract 0: import task id
    job = store.new_job(dataset, jobs.IMPORT, body, finish, asked_failure(call), prefix=prefix)
    dataset.begin(job)
    return json_reply({"task_id": job.job_id})


def _files_to_import(store: Store, dataset: Dataset, body: dict[str, Any]) -> list[StoredFile]:
    """Return the files of a folder or of a manifest that labels and difficulty let through."""
    if body.get("import_type", "dir") == "manifest":
        listed = store.manifest(obs_path(body["import_path"]))
        if listed is None:
            raise refuse("ModelArts.4312", body["import_path"])
        files = [one for one in listed if dataset.kind.takes(one.name)]
    else:
        folder = obs_folder(obs_folder(body["import_path"]) + body.get("import_folder", "").strip("/"))
        files = [one for one in store.files_below(folder) if dataset.kind.takes(one.name)]
    included, excluded = _names(body.get("included_labels")), _names(body.get("excluded_labels"))
    return [
        file
        for file in files
        if (not included or included & file.label_names)
        and not excluded & file.label_names
        and (file.hard or not body.get("difficult_only"))
    ]


def _names(labels: Iterable[Any] | None) -> set[str]:
    return {label["name"] if isinstance(label, dict) else label for label in labels or ()}


def _import(
    store: Store, dataset: Dataset, body: dict[str, Any], files: list[StoredFile], *, is_final: bool
) -> dict[str, int]:
    """Copy files into the input folder and make samples of those that are new; return the counts of the job."""
    has_labels, adds = body.get("import_annotations", True), body.get("import_samples", True)
    copies = {}
    for file in files:
        path = f"/{dataset.bucket}/{dataset.key_of(file.name)}"
        copies[path] = replace(file, path=path)
    if adds:
        store.files |= {path: file for path, file in copies.items() if path not in store.files}
        samples = store.add_files(dataset, list(copies.values()))
    else:
        samples = [one for one in dataset.samples.values() if dataset.path_of(one) in copies and not one.labels]
    for sample in samples if has_labels else ():
        annotate(store, dataset, sample, copies[dataset.path_of(sample)], is_final=is_final)
    return {
        "total_sample_count": len(files),
        "imported_sample_count": len(samples) if adds else 0,
        "annotated_sample_count": sum(bool(sample.labels) for sample in samples),
        "unconfirmed_sample_count": sum(sample.sample_id in dataset.proposals for sample in samples),
    }


def list_imports(store: Store, call: Call) -> Reply:
    """`GET D/import-tasks` (contract 6.6), newest first."""
    dataset = store.dataset(call.params["dataset_id"])
    page = read_page(call, store.variants)
    found = dataset.jobs_of(jobs.IMPORT)
    shown = [_describe_import(store, dataset, job) for job in page.cut(found)]
    return json_reply({**page.total("total_count", len(found), len(shown)), "import_tasks": shown})


def get_import(store: Store, call: Call) -> Reply:
    """`GET D/import-tasks/{task_id}` (contract 6.6): an unknown one has the status NOT_EXIST."""
    dataset = store.dataset(call.params["dataset_id"])
    task_id = call.params["task_id"]
    job = dataset.jobs.get(task_id)
    if job is None or job.kind != jobs.IMPORT:
        return json_reply({"status": NOT_EXIST, "task_id": task_id, "dataset_id": dataset.dataset_id})
    return json_reply(_describe_import(store, dataset, job) | {"update_ms": job.changed(store.clock.now())})


def _describe_import(store: Store, dataset: Dataset, job: Job) -> dict[str, Any]:
    now = store.clock.now()
    absent = ("total_sub_sample_count", "imported_sub_sample_count", "total_file_count", "total_file_size")
    return {
        "status": job.word(now),
        "task_id": job.job_id,
        "dataset_id": dataset.dataset_id,
        "import_path": job.request["import_path"],
        "import_type": IMPORT_TYPES[job.request.get("import_type", "dir")],
        "total_sample_count": 0,
        "imported_sample_count": 0,
        "annotated_sample_count": 0,
        **dict.fromkeys((*absent, "finished_file_count", "finished_file_size"), 0),
        **job.counts,
        "create_time": int(job.started * 1000),
        "elapsed_time": job.elapsed(now),
        **job.error(now),
    }


# --- exports


def start_export(store: Store, call: Call) -> Reply:
    """`POST D/export-tasks` (contract 6.6): often only the id is answered."""
    body = call.json()
    dataset = store.dataset(call.params["dataset_id"])
    check(body, EXPORT, strict=store.variants.strict_requests)
    parameters = body.get("export_params") or {}
    folder = obs_folder(body.get("path", ""), code="ModelArts.4358")
    name = _new_dataset_name(store, parameters)
    samples = _samples_to_export(store, dataset, body, parameters)

    def finish(job: Job) -> None:
        job.counts = {"total_sample_count": len(samples), "finished_sample_count": len(samples)}
        files = _files_to_export(store, dataset, samples, PARAMETER_DEFAULTS | parameters)
        if name is None:
            copies = [replace(file, path=folder + file.name) for file in files]
            store.files |= {file.path: file for file in copies}
        else:
            _make_dataset(store, dataset, name, parameters, folder, files)

    job = store.new_job(dataset, jobs.EXPORT, body, finish, asked_failure(call))
    dataset.begin(job)
    return json_reply({"task_id": job.job_id})


def _files_to_export(
    store: Store, dataset: Dataset, samples: list[Sample], parameters: dict[str, Any]
) -> list[StoredFile]:
    """Return the files of samples with what is known of them, but for what the parameters clear or give out."""
    usages = {sample.sample_id: sample.usage for sample in samples}
    if parameters["ratio_sample_usage"]:
        ratio = float(parameters["train_sample_ratio"])
        usages |= {sample.sample_id: usage for sample, usage in split(store.seed, samples, ratio)}
    files = [replace(store.stored(dataset, sample), usage=usages[sample.sample_id]) for sample in samples]
    if not parameters["clear_hard_property"]:
        return files
    return [replace(file, hard=False, metadata=without_hardness(file.metadata)) for file in files]


def _new_dataset_name(store: Store, parameters: dict[str, Any]) -> str | None:
    """Return the name of the dataset that an export makes; None: it writes into a folder.

    :raises Refusal: the name or the work path is missing (4384), or the name is taken (4351).
    """
    if parameters.get("export_dest", "DIR") == "DIR":
        return None
    for field in ("export_new_dataset_name", "export_new_dataset_work_path"):
        if not parameters.get(field):
            raise refuse("ModelArts.4384", f"{field} is missing")
    name: str = parameters["export_new_dataset_name"]
    if store.is_taken(name):
        raise refuse("ModelArts.4351", name)
    return name


def _samples_to_export(
    store: Store, dataset: Dataset, body: dict[str, Any], parameters: dict[str, Any]
) -> list[Sample]:
    """Return the samples that type, state, ids and conditions ask for; conditions are joined by OR (quirk 38)."""
    version = find_version(dataset, body["version_id"]) if body.get("version_id") else None
    kind = body.get("export_type", EXPORT_DEFAULTS["export_type"])
    states = (STATE_OF_TYPE[kind], (parameters.get("sample_state") or body.get("sample_state") or "").lower())
    now = store.clock.now()
    ids = set(parameters.get("samples") or ()) if kind == BY_CONDITION else set()
    conditions = parameters.get("search_conditions") if kind == BY_CONDITION else None
    matches = search_any(conditions, now) if conditions else None
    waiting = dataset.proposals if version is None else ()
    return [
        sample
        for sample in (version or dataset).samples.values()
        if all(is_in_state(sample, state, waiting) for state in states)
        and (not ids or sample.sample_id in ids)
        and (matches is None or matches(sample_document(dataset, sample, store.presigner, now)))
    ]


def _make_dataset(
    store: Store, origin: Dataset, name: str, parameters: dict[str, Any], folder: str, files: list[StoredFile]
) -> None:
    """Make a dataset of exported files, with their labels."""
    work_path = obs_folder(parameters["export_new_dataset_work_path"])
    made = store.new_dataset(name, origin.dataset_type, data_path=folder, work_path=work_path)
    made.labels = {label: dict(described) for label, described in origin.labels.items()}
    copies = {folder + file.name: replace(file, path=folder + file.name) for file in files}
    store.files |= copies
    for sample in store.add_files(made, list(copies.values())):
        annotate(store, made, sample, copies[made.path_of(sample)], is_final=True)


def list_exports(store: Store, call: Call) -> Reply:
    """`GET D/export-tasks` (contract 6.6), newest first."""
    dataset = store.dataset(call.params["dataset_id"])
    page = read_page(call, store.variants)
    kind = integer(call, "export_type")
    if kind not in (None, *STATE_OF_TYPE):
        raise refuse("ModelArts.0104", f"export_type={kind}")
    found = [
        job
        for job in dataset.jobs_of(jobs.EXPORT)
        if kind in (None, job.request.get("export_type", EXPORT_DEFAULTS["export_type"]))
    ]
    shown = [_describe_export(store, job) for job in page.cut(found)]
    return json_reply({**page.total("total_count", len(found), len(shown)), "export_tasks": shown})


def get_export(store: Store, call: Call) -> Reply:
    """`GET P/datasets/{resource_id}/export-tasks/{task_id}` (contract 6.6): an unknown one is 400 4359."""
    dataset = store.dataset(call.params["dataset_id"])
    job = dataset.jobs.get(call.params["task_id"])
    if job is None or job.kind != jobs.EXPORT:
        raise UnknownObjectError("ModelArts.4359", call.params["task_id"])
    return json_reply(_describe_export(store, job))


def _describe_export(store: Store, job: Job) -> dict[str, Any]:
    now = store.clock.now()
    share = 1.0 if job.is_over(now) else (now - job.started) / job.duration
    version = {"version_id": job.request["version_id"]} if job.request.get("version_id") else {}
    chosen = {name: job.request.get(name, default) for name, default in EXPORT_DEFAULTS.items()}
    return {
        "task_id": job.job_id,
        "path": job.request["path"],
        **chosen,
        **version,
        "export_params": PARAMETER_DEFAULTS | (job.request.get("export_params") or {}),
        "status": job.word(now),
        "progress": 0.0 if job.error(now) else round(share * 100, 1),
        **job.counts,
        "create_time": int(job.started * 1000),
        "update_time": job.changed(now),
        **job.error(now),
    }


# --- synchronization with the input folder


def start_sync(store: Store, call: Call) -> Reply:
    """`POST D/sync-data` (contract 6.6): 200 without a body."""
    dataset = store.dataset(call.params["dataset_id"])
    refuse_if_busy(dataset)

    def finish(job: Job) -> None:
        gone = [one.sample_id for one in dataset.samples.values() if one.key in dataset.missing]
        for sample_id in gone:
            dataset.remove_sample(sample_id, store.clock.now())
        added = take_in(store, dataset)
        total = len(dataset.samples)
        job.counts = {"add_sample_count": added, "deleted_sample_count": len(gone), "total_sample_count": total}

    dataset.begin(store.new_job(dataset, jobs.SYNC, {}, finish, asked_failure(call)))
    return Reply(200)


def take_in(store: Store, dataset: Dataset, *, with_labels: bool = True) -> int:
    """Make samples of the files in the input folder that are none yet; return how many."""
    files = {one.path: one for one in store.files_below(dataset.data_path) if dataset.kind.takes(one.name)}
    samples = store.add_files(dataset, list(files.values()))
    for sample in samples if with_labels else ():
        annotate(store, dataset, sample, files[dataset.path_of(sample)], is_final=True)
    return len(samples)


def get_sync(store: Store, call: Call) -> Reply:
    """`GET D/sync-data/status` (contract 6.6), of the last synchronization; NOT_EXIST if there was none."""
    dataset = store.dataset(call.params["dataset_id"])
    done = dataset.jobs_of(jobs.SYNC)
    if not done:
        return json_reply({"status": NOT_EXIST, "dataset_id": dataset.dataset_id})
    job, now = done[-1], store.clock.now()
    return json_reply(
        {
            "status": job.word(now),
            "dataset_id": dataset.dataset_id,
            "task_id": job.job_id,
            "create_time": int(job.started * 1000),
            "duration_time": job.elapsed(now),
            **job.counts,
            **job.error(now),
        }
    )
