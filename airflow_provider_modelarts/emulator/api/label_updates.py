"""Writing labels, which is also how proposals are confirmed (contract 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import SERVICE, refuse
from airflow_provider_modelarts.emulator.http.messages import Call, Reply, Spoiled, json_answer
from airflow_provider_modelarts.emulator.http.schema import NAMELESS, UPDATE_SAMPLES, check
from airflow_provider_modelarts.emulator.state.dataset import DETECTION, PUBLISHING, Dataset, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator.api.teams import Copy
    from airflow_provider_modelarts.emulator.state.store import Store

SIZE = "@modelarts:size"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one sample of a write; no code means written."""

    code: str | None = None
    message: str | None = None

    def result(self) -> dict[str, Any]:
        """Return the element of `results`; it carries no sample id (contract 4.1, "Some failed")."""
        if self.code is None:
            return {"success": True}
        return {"success": False, "error_code": self.code, "error_msg": self.message}


WRITTEN = Outcome()


def failed(suffix: str, detail: str) -> Outcome:
    """Return the outcome of a sample that was not written."""
    return Outcome(f"ModelArts.{suffix}", f"{SERVICE[suffix][1]} [{detail}]")


def update_samples(service: Store, call: Call) -> Reply:
    """`PUT D/data-annotations/samples` (contract 4.1)."""
    body = call.json()
    dataset = service.dataset(call.params["dataset_id"])
    check_update(service, dataset, body)
    now = service.clock.now()
    author = f"human/{body['email']}" if body.get("email") else service.person
    return answer_batch(service, call, body["samples"], lambda written: _write(service, dataset, written, author, now))


def check_update(service: Store, dataset: Dataset, body: Any) -> None:
    """Refuse a write as a whole: its shape, labels without a name, or a dataset that is being published.

    :raises Refusal: 400 ModelArts.0104 or 4381.
    """
    check(body, UPDATE_SAMPLES[service.variants.score], strict=service.variants.strict_requests)
    for written in body["samples"]:
        for label in written.get("labels") or ():
            if not label.get("name") and label.get("type", dataset.dataset_type) not in NAMELESS:
                raise refuse("0104", f"a label of sample {written['sample_id']} has no name")
    if dataset.status == PUBLISHING:
        raise refuse("4381")  # contract 4.1, "Dataset publishing"


def answer_batch(
    service: Store, call: Call, samples: list[dict[str, Any]], write: Callable[[dict[str, Any]], Outcome]
) -> Reply:
    """Write each sample, or fail it as an injected fault asks, and return BatchResult.

    HTTP 200 also when some failed; the others are written (contract 4.1 and 10, row "Confirm").
    """
    spoiled = call.spoiled or Spoiled()
    outcomes = [
        Outcome(spoiled.code, f"{spoiled.message} [{written['sample_id']}]")
        if _is_spoiled(spoiled, position, written)
        else write(written)
        for position, written in enumerate(samples)
    ]
    form = spoiled.results or service.variants.results
    return json_answer(_batch_result(outcomes, form, on_success=service.variants.results_on_success))


def _is_spoiled(spoiled: Spoiled, position: int, written: dict[str, Any]) -> bool:
    return position == spoiled.position or (spoiled.sample_id is not None and written["sample_id"] == spoiled.sample_id)


def _batch_result(outcomes: list[Outcome], form: str, *, on_success: bool) -> dict[str, Any]:
    results = [outcome.result() for outcome in outcomes]
    if all(outcome.code is None for outcome in outcomes):
        return {"success": True, "results": results} if on_success else {"success": True}
    # Variants of contract 10: positions that cannot be trusted.
    if form == "missing":
        return {"success": False}
    if form == "short":
        results = [result for result in results if not result["success"]]
        results = results[:-1] if len(results) == len(outcomes) else results
    elif form == "shuffled":
        results = results[1:] + results[:1]
    return {"success": False, "results": results}


def _write(service: Store, dataset: Dataset, written: dict[str, Any], author: str, now: float) -> Outcome:
    sample = dataset.samples.get(written["sample_id"])
    if sample is None:
        return failed("4420", written["sample_id"])
    labels = labels_to_write(service, written)
    problem = find_problem(dataset, sample, labels or [], written, only_known=service.variants.new_labels == "refuse")
    if problem is not None:
        return problem
    keep_beside_labels(service, sample, written)
    if labels is not None:
        for label in labels:
            if label.get("name"):
                dataset.add_label(label["name"])  # contract 4.1, "New label names"
        dataset.set_labels(sample, labels, author, now)
    return WRITTEN


def labels_to_write(service: Store, written: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the new label list; a missing field removes all (EN25), or with the variant nothing (quirk 21)."""
    if "labels" not in written and service.variants.missing_labels == "keep":
        return None
    labels: list[dict[str, Any]] = written.get("labels") or []
    return labels


def find_problem(
    dataset: Dataset, sample: Sample, labels: list[dict[str, Any]], written: dict[str, Any], *, only_known: bool
) -> Outcome | None:
    """Return why a sample cannot be written, or None."""
    # Contract 3.3: the size is mandatory when a detection label is written.
    if dataset.dataset_type == DETECTION and labels and SIZE not in (written.get("metadata") or {}):
        return failed("4423", sample.sample_id)
    if only_known:
        names = [label["name"] for label in labels if label.get("name")]
        unknown = next((name for name in names if name not in dataset.labels), None)
        if unknown is not None:
            return failed("4410", unknown)
    return None


def keep_beside_labels(service: Store, sample: Sample | Copy, written: dict[str, Any]) -> None:
    """Keep written usage and metadata: merged into the old, or in its place with the variant (contract 4.1)."""
    sample.usage = written.get("sample_usage", sample.usage)
    metadata = written.get("metadata")
    if metadata is None:
        return
    known = {name: value for name, value in metadata.items() if name != SIZE}
    if service.variants.metadata == "merge" and sample.metadata:
        known = sample.metadata | known
    sample.metadata = known or None
