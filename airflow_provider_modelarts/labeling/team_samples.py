"""Writes labels into the samples of a team labeling task, or takes them away (contract 5.2); reports each sample."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import (
    ConfirmationError,
    InvalidRequest,
    ModelArtsError,
    ServiceUnavailable,
)
from airflow_provider_modelarts.client.models import to_object
from airflow_provider_modelarts.client.sample_updates import (
    SampleOutcome,
    emptied_copies,
    labeled_elements,
    refuse_twins,
)
from airflow_provider_modelarts.client.validation import (
    as_number,
    decoded,
    digits_as_text,
    strict_json,
    validate_email,
    validate_whole,
)
from airflow_provider_modelarts.client.wording import first_of
from airflow_provider_modelarts.labeling.apply.batches import BATCH_BYTES, is_fault_of_samples, refused_locally
from airflow_provider_modelarts.labeling.label_equality import has_labels_of
from airflow_provider_modelarts.labeling.proposals.service_calls import HeldBack
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN, Failure
from airflow_provider_modelarts.labeling.team_copies import (
    FRESH_SECONDS,
    REREADS,
    Copies,
    Tries,
    WriteHistory,
    fingerprint_of,
    is_labeled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.team_samples import TeamSample
    from airflow_provider_modelarts.labeling.team_copies import Verdict

Element = dict[str, Any]
Place = tuple[int, Element]
"""An element, and where it stands in what was handed in."""

COUNTS = ("samples", "updated", "unchanged", "changed", "failed", "unknown", "requests")
UNCLEAR = "not_written"
"""Code of samples that a retry has left alone because nothing says whether somebody has changed them."""
_CHANGED = "changed"
"""Code of samples that somebody has changed while this try waited to write them; they count as changed."""
_SIZE = "@modelarts:size"
_UNCLEAR = (
    "An earlier try may have written, and nothing says whether somebody has changed these samples since: Airflow "
    "before 3.3 keeps nothing between tries, or other samples are asked for than in that try. They were left as they "
    "are; to replace their labels all the same, do it in a new DAG run."
)


@dataclass(frozen=True)
class TeamResult:
    """Counts of one write; ``samples = updated + unchanged + changed + failed + unknown`` (B16).

    :param samples: samples handed in
    :param updated: samples that this write gave what was asked for
    :param unchanged: samples that were as asked already; nothing was sent for them
    :param changed: samples that somebody has changed since an earlier try of this write, or while this try waited;
        they were left as they are
    :param failed: samples that the service refused
    :param unknown: samples that may not be as asked: neither an answer nor a read says whether they were written, or
        nothing says whether somebody has changed them since an earlier try, and they were left as they are
    :param requests: writes sent
    :param failures: the samples that failed or are unknown, by code; not in XCom
    :param left: ids of the changed samples, the first few; not in XCom
    """

    samples: int
    updated: int
    unchanged: int
    changed: int
    failed: int
    unknown: int
    requests: int
    failures: Mapping[str, Failure] = field(default_factory=dict)
    left: tuple[str, ...] = ()

    def to_xcom(self) -> dict[str, int]:
        """Return the counts as JSON primitives."""
        return {name: getattr(self, name) for name in COUNTS}

    @property
    def warning(self) -> str | None:
        """One line about the samples that somebody has changed in between; None if there are none."""
        if not self.changed:
            return None
        return (
            f"{self.changed} of {self.samples} team samples are not as this task, or an earlier try of it, has found "
            f"or left them: somebody has changed them. They were not overwritten: "
            f"{first_of(self.left, SAMPLES_SHOWN, total=self.changed)}."
        )

    def check(self) -> None:
        """Raise unless every sample is as asked, or was changed by somebody else.

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
    return elements


def _with_text_names(element: Any) -> Any:
    """Return a sample whose ids and names of labels are text, and whose types of labels are numbers, as they go out.

    Native rendering makes numbers of digits, and other rendering makes text of numbers.
    """
    if not isinstance(element, dict):
        return element
    found = {
        key: digits_as_text(value) if key in ("sample_id", "worker_id") else value for key, value in element.items()
    }
    if isinstance(element.get("labels"), list):
        found["labels"] = [_with_text_name(label) if isinstance(label, dict) else label for label in element["labels"]]
    return found


def _with_text_name(label: dict[str, Any]) -> dict[str, Any]:
    found = dict(label)
    if "name" in label:
        found["name"] = digits_as_text(label["name"])
    if isinstance(label.get("type"), str):
        kind = as_number(label["type"])
        found["type"] = label["type"] if kind is None else kind
    return found


def parse_copies(value: object) -> list[Element]:
    """Read which copies are meant, as a DAG author names them.

    :param value: a list of sample ids or of ``{"sample_id", "worker_id"}``, or JSON text of one
    :return: for each copy an object with the ids that were given
    :raises InvalidRequest: in one line, for an empty list, for other fields, and for a copy that comes twice
    """
    value = decoded(value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        value = list(value)
    if not isinstance(value, list) or not value:
        what = "the text is no JSON" if isinstance(value, str) else "see what its template renders to"
        raise InvalidRequest(f"samples must name at least one sample, as a list or the JSON text of one: {what}.")
    given: list[Any] = [_with_text_names(one) if isinstance(one, dict) else digits_as_text(one) for one in value]
    elements = emptied_copies(given)
    return [{name: one[name] for name in ("sample_id", "worker_id") if name in one} for one in elements]


def update_team_samples(
    client: ModelArtsClient,
    dataset_id: str,
    workforce_task_id: str,
    samples: object,
    *,
    worker_email: str | None = None,
    batch_size: int = 100,
    should_stop: Callable[[], bool] | None = None,
    tries: Tries | None = None,
) -> TeamResult:
    """Replace labels in a team labeling task.

    All samples are checked before the first write. Then the team task is read, and only samples that are not yet as
    asked are written, each once. In a retry a sample that somebody has changed since the first try is left as it is.
    A write goes out at most 25 s after the last read; later, as after a pause that the service asked for, the team task
    is read again, and what somebody has changed is left as it is. What is changed in these seconds is overwritten, as
    the service takes no condition with a write.
    After a lost or bad answer the samples are read: those that have the new labels count as written. The others are
    reported and not sent again, since a member may have labeled them in between.

    :param client: the client to use
    :param dataset_id: the dataset
    :param workforce_task_id: the team labeling task
    :param samples: as for :func:`parse_team_samples`; ``worker_id`` says whose copy
    :param worker_email: the member on whose behalf; default: the owner
    :param batch_size: samples per write at most; batches are also split at about 1 MB
    :param should_stop: asked before every write; once true no further write goes out, and the rest is unknown
    :param tries: which try of this write it is; None: the only one
    :return: the counts; :meth:`TeamResult.check` raises if something is missing
    :raises InvalidRequest: for samples that cannot be written, before anything is sent; for one copy that comes twice,
        before anything is written
    :raises ModelArtsError: for what is not the fault of samples; batches before may have been written
    """
    elements = parse_team_samples(samples)
    task = _TeamTask(client, dataset_id, workforce_task_id, _checked(worker_email), should_stop or _never)
    return task.run(elements, validate_whole("batch_size", batch_size, 1), tries or Tries())


def clear_team_samples(
    client: ModelArtsClient,
    dataset_id: str,
    workforce_task_id: str,
    samples: object,
    *,
    worker_email: str | None = None,
    batch_size: int = 100,
    should_stop: Callable[[], bool] | None = None,
    tries: Tries | None = None,
) -> TeamResult:
    """Take all labels from copies of samples in a team labeling task; the dataset's own labels stay.

    Copies without labels are left alone. For all else see :func:`update_team_samples`.

    :param client: the client to use
    :param dataset_id: the dataset
    :param workforce_task_id: the team labeling task
    :param samples: as for :func:`parse_copies`
    :param worker_email: the member on whose behalf, and whose copies are meant where no ``worker_id`` says so
    :param batch_size: samples per write at most
    :param should_stop: asked before every write; once true no further write goes out, and the rest is unknown
    :param tries: which try of this write it is; None: the only one
    :return: the counts; :meth:`TeamResult.check` raises if something is missing
    :raises InvalidRequest: for an empty list and for samples that cannot be named so, before anything is sent
    :raises ModelArtsError: for what is not the fault of samples; batches before may have been written
    """
    elements = parse_copies(samples)
    task = _Clearing(client, dataset_id, workforce_task_id, _checked(worker_email), should_stop or _never)
    return task.run(elements, validate_whole("batch_size", batch_size, 1), tries or Tries())


def _never() -> bool:
    return False


def _checked(worker_email: str | None) -> str | None:
    return None if worker_email is None else validate_email("worker_email", worker_email)


@dataclass
class _TeamTask:
    """One team labeling task, and on whose behalf labels are written to it."""

    client: ModelArtsClient
    dataset_id: str
    task_id: str
    email: str | None
    should_stop: Callable[[], bool]
    requests: int = 0
    rereads: int = 0
    copies: Copies = field(default_factory=lambda: Copies((), ()))
    read_at: float = 0.0
    marks: dict[tuple[str, str | None], bytes] = field(default_factory=dict)
    is_sent_unfound: ClassVar[bool] = True
    """Whether a sample of which no copy was found is written: the service knows, and refuses it if not."""

    def run(self, elements: list[Element], batch_size: int, tries: Tries) -> TeamResult:
        """Write the samples that are not yet as asked, and that nobody has changed since an earlier try."""
        # Here, because a DAG file need not load what only a running task uses.
        from airflow_provider_modelarts.client.transport.transport import encoded

        for batch in split_copies(list(enumerate(elements)), batch_size):
            encoded({"samples": [element for _, element in batch]}, f"Sample {batch[0][1]['sample_id']}")
        self._read_all(elements)
        found = [self.copies.find(element, self.email) for element in elements]
        # One sample, named with its member and without, would be written twice.
        refuse_twins([(copy.sample_id, copy.worker_id) for copy in found if copy is not None])
        marks = [fingerprint_of(copy) for copy in found]
        self.marks = dict(zip(map(_key_of, elements), marks, strict=True))
        history = WriteHistory.open(tries, [self.dataset_id, self.task_id, self.email, elements], marks)
        tally = _Tally()
        due = [
            (place, element)
            for place, (element, copy) in enumerate(zip(elements, found, strict=True))
            if self._is_due(element, copy, history.judge(place, marks[place]), tally)
        ]
        for batch in split_copies(due, batch_size):
            outcomes = self.write([element for _, element in batch])
            history.mark_sent(place for (place, _), outcome in zip(batch, outcomes, strict=True) if outcome.ok)
            tally.outcomes += outcomes
        return tally.result(len(elements), self.requests)

    def _is_due(self, element: Element, copy: TeamSample | None, verdict: Verdict, tally: _Tally) -> bool:
        """Whether a sample is to be written; else it is counted."""
        sample_id = element["sample_id"]
        if copy is None:
            return self._is_named_well(element, tally)
        if self.is_as_asked(copy, element):
            tally.unchanged += 1
        elif verdict == "changed":
            tally.changed.append(sample_id)
        elif verdict == "unclear" and not self.replaces_nothing(copy):
            tally.outcomes.append(SampleOutcome(sample_id, None, UNCLEAR, _UNCLEAR))
        else:
            return True
        return False

    def _is_named_well(self, element: Element, tally: _Tally) -> bool:
        """Whether to write a sample of which no single copy was found; else it is counted."""
        if self.is_sent_unfound and not self.copies.all_meant(element, self.email):
            return True
        text = "The team task has no copy of it, or several: name the member by worker_id, or all by worker_email."
        tally.outcomes.append(SampleOutcome(element["sample_id"], False, "no_single_copy", text))
        return False

    def is_as_asked(self, copy: TeamSample, element: Element) -> bool:
        """Whether a copy is what an element makes of it."""
        from airflow_provider_modelarts.client.resources.samples import Sample

        metadata, usage = to_object(element.get("metadata")), element.get("sample_usage")
        return (
            is_labeled(copy)
            and has_labels_of(copy, Sample(element))
            and all(copy.metadata.get(name) == value for name, value in metadata.items() if name != _SIZE)
            and usage in (None, copy.raw.get("sample_usage"))
        )

    def replaces_nothing(self, copy: TeamSample) -> bool:
        """Whether a write would replace no label that somebody has given."""
        return not is_labeled(copy)

    def send(self, batch: Sequence[Element]) -> Sequence[SampleOutcome]:
        """Send one request."""
        return self.client.team_samples.update(
            self.dataset_id, self.task_id, batch, email=self.email, before_sending=self.check_again
        )

    def check_again(self) -> None:
        """Check once more when a request is about to go out: it may have waited for the service.

        :raises HeldBack: if it may not go out any more
        """
        if self.should_stop() or system_clock.now() - self.read_at > FRESH_SECONDS:
            raise HeldBack

    def write(self, batch: Sequence[Element]) -> list[SampleOutcome]:
        """Write what is still as it was first read; return what became of each sample, in order."""
        found = [self.copies.find(element, self.email) for element in batch]
        kept = [fingerprint_of(copy) == self.marks[_key_of(one)] for one, copy in zip(batch, found, strict=True)]
        sent = iter(self._write([one for one, is_kept in zip(batch, kept, strict=True) if is_kept]))
        return [
            next(sent) if is_kept else self._changed(one, copy)
            for one, copy, is_kept in zip(batch, found, kept, strict=True)
        ]

    def _changed(self, element: Element, copy: TeamSample | None) -> SampleOutcome:
        """Return what became of a sample that was changed while this try waited."""
        if copy is not None and self.is_as_asked(copy, element):
            return SampleOutcome(element["sample_id"], True)
        return SampleOutcome(element["sample_id"], False, _CHANGED)

    def _write(self, batch: Sequence[Element]) -> list[SampleOutcome]:
        """Write a batch, and split it where one sample makes it fail."""
        if not batch:
            return []
        if self.should_stop():
            return [SampleOutcome(element["sample_id"], None, None, "Not sent: stopped.") for element in batch]
        try:
            outcomes = self.send(batch)
        except HeldBack:
            if not self.should_stop():
                self._read_again()
            return self.write(batch)
        except ModelArtsError as error:
            # The samples have been checked: what the client refuses now is wrong for all of them.
            if refused_locally(error) or not is_fault_of_samples(error):
                raise
            self._count_request()
            if len(batch) == 1:
                return [SampleOutcome(batch[0]["sample_id"], False, error.code or "invalid", error.message)]
            middle = len(batch) // 2
            return self.write(batch[:middle]) + self.write(batch[middle:])
        self._count_request()
        return list(outcomes) if all(outcome.ok for outcome in outcomes) else self._read(batch, outcomes)

    def _count_request(self) -> None:
        self.requests += 1
        self.rereads = 0

    def _read_all(self, elements: Sequence[Element]) -> None:
        self.copies = self._copies(elements)
        self.read_at = system_clock.now()

    def _read_again(self) -> None:
        """Read the team task once more, as the last read has become too old.

        :raises ServiceUnavailable: if that has happened too often in a row
        """
        if self.rereads >= REREADS:
            raise ServiceUnavailable(
                f"Labels of team task {self.task_id} of dataset {self.dataset_id} could not be written: the service "
                f"let no write in, and each time what was read before had become too old ({REREADS} times in a row). "
                "Run the task again later.",
                sent=False,
            )
        self.rereads += 1
        self._read_all([{"sample_id": sample_id} for sample_id, _ in self.marks])

    def _copies(self, elements: Sequence[Element]) -> Copies:
        return Copies.read(self.client, self.dataset_id, self.task_id, elements)

    def _read(self, batch: Sequence[Element], outcomes: Sequence[SampleOutcome]) -> list[SampleOutcome]:
        """Read what became of a batch: the positions in an answer only name suspects (B15)."""
        copies = self._copies(batch)
        told = next((outcome for outcome in outcomes if outcome.error_code), None)
        found = []
        for element, said in zip(batch, outcomes, strict=True):
            copy = copies.find(element, self.email)
            if copy is not None and self.is_as_asked(copy, element):
                found.append(SampleOutcome(said.sample_id, True))
            elif said.ok is None:
                found.append(SampleOutcome(said.sample_id, None, said.error_code, said.error_msg))
            else:
                reason = said if said.error_code else told or said
                found.append(SampleOutcome(said.sample_id, False, reason.error_code, reason.error_msg))
        return found


class _Clearing(_TeamTask):
    """One team labeling task from which labels are taken."""

    is_sent_unfound: ClassVar[bool] = False

    def is_as_asked(self, copy: TeamSample, element: Element) -> bool:  # noqa: ARG002 - whatever was asked for it
        """Whether a copy has no labels."""
        return not is_labeled(copy)

    def replaces_nothing(self, copy: TeamSample) -> bool:  # noqa: ARG002 - it is asked about copies with labels only
        """Whether a write would replace no label: it takes them all."""
        return False

    def send(self, batch: Sequence[Element]) -> Sequence[SampleOutcome]:
        """Send one request."""
        return self.client.team_samples.clear_labels(
            self.dataset_id, self.task_id, batch, email=self.email, before_sending=self.check_again
        )


def split_copies(places: Iterable[Place], batch_size: int) -> Iterator[list[Place]]:
    """Split elements with their positions into what goes out in one request each."""
    batch: list[Place] = []
    named: set[str] = set()
    size = 0
    for place, element in places:
        length = len(json.dumps(element))
        # One sample may have several copies; a request may name it once (contract 4.1).
        twin = element["sample_id"] in named
        if batch and (twin or len(batch) >= batch_size or size + length > BATCH_BYTES):
            yield batch
            batch, named, size = [], set(), 0
        batch.append((place, element))
        named.add(element["sample_id"])
        size += length
    if batch:
        yield batch


def _key_of(element: Element) -> tuple[str, str | None]:
    """Return what tells the copies of one write apart."""
    return element["sample_id"], element.get("worker_id") or None


@dataclass
class _Tally:
    """What became of the samples of one write."""

    unchanged: int = 0
    changed: list[str] = field(default_factory=list)
    outcomes: list[SampleOutcome] = field(default_factory=list)

    def result(self, samples: int, requests: int) -> TeamResult:
        """Return the counts."""
        bad: dict[str, list[SampleOutcome]] = {}
        changed = list(self.changed)
        unknown = 0
        for outcome in self.outcomes:
            if outcome.ok:
                continue
            if outcome.error_code == _CHANGED:
                changed.append(outcome.sample_id)
                continue
            unknown += outcome.ok is None
            code = outcome.error_code if outcome.ok is False or outcome.error_code == UNCLEAR else "unknown"
            bad.setdefault(code or "refused", []).append(outcome)
        failures = {
            code: Failure(
                code, some[0].error_msg or "", len(some), tuple(one.sample_id for one in some[:SAMPLES_SHOWN])
            )
            for code, some in sorted(bad.items())
        }
        missing = sum(map(len, bad.values()))
        return TeamResult(
            samples=samples,
            updated=sum(bool(outcome.ok) for outcome in self.outcomes),
            unchanged=self.unchanged,
            changed=len(changed),
            failed=missing - unknown,
            unknown=unknown,
            requests=requests,
            failures=failures,
            left=tuple(changed[:SAMPLES_SHOWN]),
        )
