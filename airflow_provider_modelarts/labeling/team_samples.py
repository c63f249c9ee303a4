"""Writes labels into the samples of a team labeling task (contract 5.2), and reports what became of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import ConfirmationError, InvalidRequest, ModelArtsError
from airflow_provider_modelarts.client.models import to_objects
from airflow_provider_modelarts.client.sample_updates import labeled_elements
from airflow_provider_modelarts.client.validation import (
    decoded,
    digits_as_text,
    strict_json,
    validate_email,
    validate_whole,
)
from airflow_provider_modelarts.labeling.apply.batches import BATCH_BYTES, is_fault_of_samples, refused_locally
from airflow_provider_modelarts.labeling.label_equality import has_labels_of
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from airflow_provider_modelarts.client import ModelArtsClient, Sample, SampleOutcome

Element = dict[str, Any]


@dataclass(frozen=True)
class TeamResult:
    """Counts of one write; ``samples = updated + failed + unknown``.

    :param samples: samples handed in
    :param updated: samples that have the new labels
    :param failed: samples that the service refused
    :param unknown: samples of which neither an answer nor a read says whether they were written
    :param requests: writes sent
    :param failures: the samples that failed or are unknown, by code; not in XCom
    """

    samples: int
    updated: int
    failed: int
    unknown: int
    requests: int
    failures: Mapping[str, Failure] = field(default_factory=dict)

    def to_xcom(self) -> dict[str, int]:
        """Return the counts as JSON primitives."""
        return {name: getattr(self, name) for name in ("samples", "updated", "failed", "unknown", "requests")}

    def check(self) -> None:
        """Raise unless everything was written.

        :raises ConfirmationError: in one line, naming codes and samples
        """
        if self.failures:
            raise ConfirmationError(
                f"{self.failed + self.unknown} of {self.samples} team samples were not written for certain: "
                f"{'; '.join(map(str, self.failures.values()))}. Correct them and run the task again."
            )


def parse_team_samples(value: object) -> list[Element]:
    """Read samples as a DAG author gives them.

    :param value: a list of ``{"sample_id", "labels", "worker_id"?, ...}``, or JSON text of one
    :return: the samples as they go out
    :raises InvalidRequest: in one line, for anything else; writing a sample without labels would erase its labels
    """
    value = decoded(value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        # Among them the outputs of mapped tasks, which are read as they are needed.
        value = list(value)
    if not isinstance(value, list) or not value:
        what = "the text is no JSON" if isinstance(value, str) else "see what its template renders to"
        raise InvalidRequest(f"samples must be a list with at least one sample, or JSON text of one: {what}.")
    value = [_with_text_names(element) for element in value]
    for place, element in enumerate(value, start=1):
        if not isinstance(element, dict) or not isinstance(element.get("sample_id"), str) or not element["sample_id"]:
            raise InvalidRequest(f'Sample {place} of {len(value)} must be an object with a "sample_id".')
    elements = labeled_elements(value)
    for element in elements:
        strict_json(element, f"Sample {element['sample_id']}")
        # Here labels must be in the dataset already (contract 5.2), and those have names.
        if not all(isinstance(label.get("name"), str) and label["name"].strip() for label in element["labels"]):
            raise InvalidRequest(f'Sample {element["sample_id"]} has a label without a name: give its "name".')
    return elements


def _with_text_names(element: Any) -> Any:
    """Return a sample whose ids and label names are text, also where native rendering made numbers of digits."""
    if not isinstance(element, dict):
        return element
    found = {
        key: digits_as_text(value) if key in ("sample_id", "worker_id") else value for key, value in element.items()
    }
    if isinstance(element.get("labels"), list):
        found["labels"] = [
            {**label, "name": digits_as_text(label["name"])} if isinstance(label, dict) and "name" in label else label
            for label in element["labels"]
        ]
    return found


def update_team_samples(
    client: ModelArtsClient,
    dataset_id: str,
    workforce_task_id: str,
    samples: object,
    *,
    worker_email: str | None = None,
    batch_size: int = 100,
    should_stop: Callable[[], bool] | None = None,
) -> TeamResult:
    """Replace labels in a team labeling task.

    All samples are checked before the first write, and each is sent once. After a lost or bad answer the samples are
    read: those that have the new labels count as written. The others are reported and not sent again, since a member
    may have labeled them in between.

    :param client: the client to use
    :param dataset_id: the dataset
    :param workforce_task_id: the team labeling task
    :param samples: as for :func:`parse_team_samples`; ``worker_id`` says whose copy
    :param worker_email: the member on whose behalf; default: the owner
    :param batch_size: samples per write at most; batches are also split at about 1 MB
    :param should_stop: asked before every write; once true no further write goes out, and the rest is unknown
    :return: the counts; :meth:`TeamResult.check` raises if something is missing
    :raises InvalidRequest: for samples that cannot be written, before anything is sent
    :raises ModelArtsError: for what is not the fault of samples; batches before may have been written
    """
    # Here, because a DAG file need not load what only a running task uses.
    from airflow_provider_modelarts.client.transport.transport import encoded

    elements = parse_team_samples(samples)
    batch_size = validate_whole("batch_size", batch_size, 1)
    if worker_email is not None:
        validate_email("worker_email", worker_email)
    batches = list(_split(elements, batch_size))
    for batch in batches:
        encoded({"samples": batch}, f"Sample {batch[0]['sample_id']}")
    task = _TeamTask(client, dataset_id, workforce_task_id, worker_email, should_stop or (lambda: False))
    outcomes = [outcome for batch in batches for outcome in task.write(batch)]
    return _summary(outcomes, task.requests)


@dataclass
class _TeamTask:
    """One team labeling task, and on whose behalf it is written to."""

    client: ModelArtsClient
    dataset_id: str
    task_id: str
    email: str | None
    should_stop: Callable[[], bool]
    requests: int = 0

    def write(self, batch: Sequence[Element]) -> list[SampleOutcome]:
        """Write a batch, and split it where one sample makes it fail; return what became of each sample."""
        from airflow_provider_modelarts.client import SampleOutcome

        if self.should_stop():
            return [SampleOutcome(element["sample_id"], None, None, "Not sent: stopped.") for element in batch]
        self.requests += 1
        try:
            outcomes = self.client.team_samples.update(self.dataset_id, self.task_id, batch, email=self.email)
        except ModelArtsError as error:
            # The samples have been checked: what the client refuses now is wrong for all of them.
            if refused_locally(error) or not is_fault_of_samples(error):
                raise
            if len(batch) == 1:
                return [SampleOutcome(batch[0]["sample_id"], False, error.code or "invalid", error.message)]
            middle = len(batch) // 2
            return self.write(batch[:middle]) + self.write(batch[middle:])
        return list(outcomes) if all(outcome.ok for outcome in outcomes) else self._read(batch, outcomes)

    def _read(self, batch: Sequence[Element], outcomes: Sequence[SampleOutcome]) -> list[SampleOutcome]:
        """Read what became of a batch: the positions in an answer only name suspects (B15)."""
        from airflow_provider_modelarts.client import Sample, SampleOutcome

        ids = {element["sample_id"] for element in batch}
        listed = self.client.team_samples.list(self.dataset_id, self.task_id)
        copies = [sample for sample in listed if sample.sample_id in ids]
        told = next((outcome for outcome in outcomes if outcome.error_code), None)
        found = []
        for element, said in zip(batch, outcomes, strict=True):
            copy = self._copy(element, copies)
            if copy is not None and has_labels_of(copy, Sample(element)):
                found.append(SampleOutcome(said.sample_id, True))
            elif said.ok is None:
                found.append(SampleOutcome(said.sample_id, None, said.error_code, said.error_msg))
            else:
                reason = said if said.error_code else told or said
                found.append(SampleOutcome(said.sample_id, False, reason.error_code, reason.error_msg))
        return found

    def _copy(self, element: Element, copies: Sequence[Sample]) -> Sample | None:
        """Return the copy that was meant: the named member's, or the only one."""
        mine = [copy for copy in copies if copy.sample_id == element["sample_id"] and self._is_meant(element, copy)]
        return mine[0] if len(mine) == 1 else None

    def _is_meant(self, element: Element, copy: Sample) -> bool:
        worker_id = element.get("worker_id")
        if worker_id or not self.email:
            return not worker_id or copy.worker_id == worker_id
        return any(worker.get("email") == self.email for worker in to_objects(copy.raw.get("labelers")))


def _split(elements: Iterable[Element], batch_size: int) -> Iterator[list[Element]]:
    batch: list[Element] = []
    size = 0
    for element in elements:
        length = len(json.dumps(element))
        # One sample may have several copies; a request may name it once (contract 4.1).
        twin = any(other["sample_id"] == element["sample_id"] for other in batch)
        if batch and (twin or len(batch) >= batch_size or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(element)
        size += length
    if batch:
        yield batch


def _summary(outcomes: Sequence[SampleOutcome], requests: int) -> TeamResult:
    bad: dict[str, list[SampleOutcome]] = {}
    for outcome in outcomes:
        if not outcome.ok:
            bad.setdefault("unknown" if outcome.ok is None else outcome.error_code or "refused", []).append(outcome)
    failures = {
        code: Failure(code, some[0].error_msg or "", len(some), tuple(one.sample_id for one in some[:SAMPLES_SHOWN]))
        for code, some in sorted(bad.items())
    }
    unknown = len(bad.get("unknown", ()))
    missing = sum(map(len, bad.values()))
    return TeamResult(len(outcomes), len(outcomes) - missing, missing - unknown, unknown, requests, failures)
