"""Publishing, listing and deleting versions of a dataset (contract 6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.busy import asked_failure, refuse_if_busy
from airflow_provider_modelarts.emulator.api.samples import find_version, label_stats
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import EXTRA, Call, Reply, done, json_reply
from airflow_provider_modelarts.emulator.http.paging import read_page
from airflow_provider_modelarts.emulator.http.query import integer
from airflow_provider_modelarts.emulator.http.schema import CREATE_VERSION, check
from airflow_provider_modelarts.emulator.state.dataset import CREATING, Dataset, Sample, Version, split
from airflow_provider_modelarts.emulator.state.hard_reasons import without_hardness
from airflow_provider_modelarts.emulator.state.job import PUBLISH, Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator.state.store import Store

APART = 60  # seconds between two versions of a dataset (contract 6.3)
STATUSES = frozenset(range(5))
FORMATS = {0: "Default", 1: "CarbonData", 2: "CSV"}
# Contract 6.3, what is not asked for.
DEFAULTS = {
    "version_format": "Default",
    "description": "",
    "clear_hard_property": True,
    "export_images": False,
    "remove_sample_usage": True,
    "train_evaluate_sample_ratio": "1.00",
}
WHOLE_SPLITS = (0.0, 1.0)


def create_version(store: Store, call: Call) -> Reply:
    """`POST D/versions` (contract 6.3): 201; the dataset is publishing until it is done."""
    body = call.json()
    dataset = store.dataset(call.params["dataset_id"])
    check(body, CREATE_VERSION, strict=store.variants.strict_requests)
    refuse_if_busy(dataset)
    _refuse_version(store, dataset, body)
    number, name = _number_and_name(dataset, body.get("version_name"))
    dataset.made["version number"] = number
    version_id = store.new_id_in(dataset, "version")
    version = Version(
        version_id=version_id,
        name=name,
        options={**DEFAULTS, **body},
        previous_id=dataset.current_version,
        folder=f"{dataset.inner_path}annotation/{name}/",
        job=store.new_job(dataset, PUBLISH, body, _make_current(dataset, version_id), asked_failure(call)),
        labels={label: dict(described) for label, described in dataset.labels.items()},
        samples=_samples_of_version(store, dataset, {**DEFAULTS, **body}),
    )
    dataset.publish(version)
    return json_reply({"version_id": version_id}, status=201)


def _samples_of_version(store: Store, dataset: Dataset, options: dict[str, Any]) -> dict[str, Sample]:
    """Return the samples that a version holds: as they are, but for what its options clear or give out."""
    samples = dataset.copy_of_samples()
    for sample in samples.values():
        if options["clear_hard_property"]:
            sample.metadata = without_hardness(sample.metadata)
        if options["remove_sample_usage"]:
            sample.usage = None
    free = [sample for sample in samples.values() if sample.labels and sample.usage is None]
    for sample, usage in split(store.seed, free, float(options["train_evaluate_sample_ratio"])):
        sample.usage = usage
    return samples


def _make_current(dataset: Dataset, version_id: str) -> Callable[[Job], None]:
    def finish(_: Job) -> None:
        if version_id in dataset.versions:
            dataset.current_version = version_id

    return finish


def _refuse_version(store: Store, dataset: Dataset, body: dict[str, Any]) -> None:
    """Refuse what cannot be published (codes of the YAML, area version)."""
    now, limit = store.clock.now(), store.variants.max_versions
    if any(job.started > now - APART for job in dataset.jobs_of(PUBLISH)):
        raise refuse("ModelArts.4370")
    if body.get("version_name") in {version.name for version in dataset.versions.values()}:
        raise refuse("ModelArts.4371", body["version_name"])
    if limit is not None and len(dataset.versions) >= limit:
        raise refuse("ModelArts.4714", limit)
    if not dataset.samples:
        raise refuse("ModelArts.4825")
    ratio = float(body.get("train_evaluate_sample_ratio", "1"))
    if ratio not in WHOLE_SPLITS and dataset.annotated < 2:
        raise refuse("ModelArts.4342", dataset.annotated)


def _number_and_name(dataset: Dataset, given: str | None) -> tuple[int, str]:
    """Return the number of the next version, and its name: V001, V002 ... unless one is given (contract 6.3)."""
    number = dataset.made["version number"] + 1
    taken = {version.name for version in dataset.versions.values()}
    while given is None and f"V{number:03d}" in taken:
        number += 1
    return number, given or f"V{number:03d}"


def list_versions(store: Store, call: Call) -> Reply:
    """`GET D/versions` (contract 6.3), newest first."""
    dataset = store.dataset(call.params["dataset_id"])
    page = read_page(call, store.variants, maximum=1000, default=1000)
    status = integer(call, "status")
    if status not in (None, *STATUSES):
        raise refuse("ModelArts.0104", f"status={status}")
    now = store.clock.now()
    fits = version_filter(call)
    found = [one for one in dataset.versions.values() if fits(one) and status in (None, one.status(now))]
    shown = [describe_version(store, dataset, version) for version in page.cut(found)]
    return json_reply({**page.total("total_number", len(found), len(shown)), "versions": shown})


def version_filter(call: Call) -> Callable[[Version], bool]:
    """Return what `version_format` and `train_evaluate_ratio` ("min,max") ask of a version (contract 6.1, 6.3).

    :raises Refusal: 400 ModelArts.0104 for other values.
    """
    number = integer(call, "version_format")
    if number not in (None, *FORMATS):
        raise refuse("ModelArts.0104", f"version_format={number}")
    bounds = _ratios(call.query.get("train_evaluate_ratio", ""))

    def fits(version: Version) -> bool:
        ratio = float(version.options["train_evaluate_sample_ratio"])
        is_in_format = number is None or version.options["version_format"] == FORMATS[number]
        return is_in_format and (bounds is None or bounds[0] <= ratio <= bounds[1])

    return fits


def _ratios(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = 1, 0
    if not 0 <= low <= high <= 1:
        raise refuse("ModelArts.0104", f"train_evaluate_ratio={text}")
    return low, high


def get_version(store: Store, call: Call) -> Reply:
    """`GET D/versions/{version_id}` (contract 6.3): as in the list, and counts for each label."""
    dataset = store.dataset(call.params["dataset_id"])
    version = find_version(dataset, call.params["version_id"])
    stats = label_stats(version, version.samples.values())
    is_multiple = any(len(sample.labels) > 1 for sample in version.samples.values())
    further = {"label_stats": stats, "label_type": "multi" if is_multiple else "single"}
    return json_reply(describe_version(store, dataset, version) | further)


def describe_version(store: Store, dataset: Dataset, version: Version) -> dict[str, Any]:
    """Return a version as lists show it (contract 6.3)."""
    now = store.clock.now()
    previous = {} if version.previous_id is None else {"previous_version_id": version.previous_id}
    failure = version.job.error(now)
    return {
        "version_id": version.version_id,
        "version_name": version.name,
        **previous,
        "status": version.status(now),
        "create_time": int(version.job.started * 1000),
        "update_time": version.job.changed(now),
        "total_sample_count": len(version.samples),
        "annotated_sample_count": version.annotated,
        "total_sub_sample_count": 0,
        "annotated_sub_sample_count": 0,
        "manifest_path": version.manifest,
        "data_path": f"{version.folder}data/",
        "is_current": version.version_id == dataset.current_version,
        "analysis_status": 3,
        "task_type": dataset.dataset_type,
        "extract_serial_number": False,
        **version.options,
        **({"code": failure["error_code"], "message": failure["error_msg"]} if failure else {}),
        **(EXTRA if store.variants.extra_fields else {}),
    }


def delete_version(store: Store, call: Call) -> Reply:
    """`DELETE D/versions/{version_id}` (contract 6.3): 204; one that is being published is 4828."""
    dataset = store.dataset(call.params["dataset_id"])
    version = find_version(dataset, call.params["version_id"])
    if version.status(store.clock.now()) == CREATING:
        raise refuse("ModelArts.4828", version.version_id)
    del dataset.versions[version.version_id]
    if dataset.current_version == version.version_id:
        dataset.current_version = None
    return done(with_body=store.variants.body_with_204)
