"""Writes labels into the samples of a team labeling task, or takes them away (contract 5.2); reports each sample."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.client.models import to_object
from airflow_provider_modelarts.client.sample_updates import SampleOutcome, refuse_twins
from airflow_provider_modelarts.client.validation import validate_email, validate_whole
from airflow_provider_modelarts.labeling.apply.batches import BATCH_BYTES, is_fault_of_samples, refused_locally
from airflow_provider_modelarts.labeling.label_equality import has_labels_of
from airflow_provider_modelarts.labeling.proposals.service_calls import HeldBack
from airflow_provider_modelarts.labeling.team_copies import (
    Copies,
    Tries,
    WriteHistory,
    fingerprint_of,
    is_labeled,
)
from airflow_provider_modelarts.labeling.team_elements import Element, parse_copies, parse_team_samples
from airflow_provider_modelarts.labeling.team_results import CHANGED, UNCLEAR, TeamResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.team_samples import TeamSample

Place = tuple[int, Element]
"""An element, and where it stands in what was handed in."""

_SIZE = "@modelarts:size"
_UNCLEAR = (
    "An earlier try may have written, and nothing says whether somebody has changed these samples since: Airflow "
    "before 3.3 keeps nothing between tries, or other samples are asked for than in that try. They were left as they "
    "are; to replace their labels all the same, do it in a new DAG run."
)


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
    where = client, dataset_id, workforce_task_id
    return _run(_LabelWrite, where, parse_team_samples(samples), worker_email, batch_size, should_stop, tries)


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
    where = client, dataset_id, workforce_task_id
    return _run(_LabelClearing, where, parse_copies(samples), worker_email, batch_size, should_stop, tries)


def _run(
    kind: type[_LabelWrite],
    where: tuple[ModelArtsClient, str, str],
    elements: list[Element],
    worker_email: str | None,
    batch_size: int,
    should_stop: Callable[[], bool] | None,
    tries: Tries | None,
) -> TeamResult:
    """Check everything, read the team task, and write."""
    # Here, because a DAG file need not load what only a running task uses.
    from airflow_provider_modelarts.client.transport.transport import encoded

    email = None if worker_email is None else validate_email("worker_email", worker_email)
    batch_size = validate_whole("batch_size", batch_size, 1)
    for batch in split_copies(enumerate(elements), batch_size):
        encoded({"samples": [element for _, element in batch]}, f"Sample {batch[0][1]['sample_id']}")
    return kind(Copies(*where, elements), elements, email, should_stop, tries or Tries()).run(batch_size)


class _LabelWrite:
    """One write of labels to copies in a team task."""

    is_sent_unfound: ClassVar[bool] = True
    """Whether a sample of which no copy was found is written: the service knows, and refuses it if not."""

    def __init__(
        self,
        copies: Copies,
        elements: Sequence[Element],
        email: str | None,
        should_stop: Callable[[], bool] | None,
        tries: Tries,
    ) -> None:
        self.copies, self.elements, self.email = copies, elements, email
        self.should_stop = should_stop or (lambda: False)
        self.requests = 0
        found = [copies.find(element, email) for element in elements]
        # One sample, named with its member and without, would be written twice.
        refuse_twins([(copy.sample_id, copy.worker_id) for copy in found if copy is not None])
        marks = [fingerprint_of(copy) for copy in found]
        self.marks = dict(zip(map(_key_of, elements), marks, strict=True))
        self.history = WriteHistory.open(tries, [copies.dataset_id, copies.task_id, email, elements], marks)
        self.unchanged = 0
        self.changed: list[str] = []
        self.outcomes: list[SampleOutcome] = []

    def run(self, batch_size: int) -> TeamResult:
        """Write the samples that are not yet as asked, and that nobody has changed since an earlier try."""
        due = [(place, element) for place, element in enumerate(self.elements) if self._is_due(place, element)]
        for batch in split_copies(due, batch_size):
            outcomes = self._write_unchanged([element for _, element in batch])
            self.history.mark_sent(place for (place, _), outcome in zip(batch, outcomes, strict=True) if outcome.ok)
            self.outcomes += outcomes
        return TeamResult.of(self.outcomes, unchanged=self.unchanged, changed=self.changed, requests=self.requests)

    def _is_due(self, place: int, element: Element) -> bool:
        """Whether a sample is to be written; else it is counted."""
        sample_id = element["sample_id"]
        copy = self.copies.find(element, self.email)
        if copy is None:
            return self._is_named_well(element)
        verdict = self.history.judge(place, self.marks[_key_of(element)])
        if self.is_as_asked(copy, element):
            self.unchanged += 1
        elif verdict == "changed":
            self.changed.append(sample_id)
        elif verdict == "unclear" and not self.replaces_nothing(copy):
            self.outcomes.append(SampleOutcome(sample_id, None, UNCLEAR, _UNCLEAR))
        else:
            return True
        return False

    def _is_named_well(self, element: Element) -> bool:
        """Whether to write a sample of which no single copy was found; else it is counted."""
        if self.is_sent_unfound and not self.copies.all_meant(element, self.email):
            return True
        text = "The team task has no copy of it, or several: name the member by worker_id, or all by worker_email."
        self.outcomes.append(SampleOutcome(element["sample_id"], False, "no_single_copy", text))
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
        copies = self.copies
        return copies.client.team_samples.update(
            copies.dataset_id, copies.task_id, batch, email=self.email, before_sending=self.check_again
        )

    def check_again(self) -> None:
        """Check once more when a request is about to go out: it may have waited for the service.

        :raises HeldBack: if it may not go out any more
        """
        if self.should_stop():
            raise HeldBack
        self.copies.check_fresh()

    def _write_unchanged(self, batch: Sequence[Element]) -> list[SampleOutcome]:
        """Write what is still as it was first read; return what became of each sample, in order."""
        found = [self.copies.find(element, self.email) for element in batch]
        kept = [fingerprint_of(copy) == self.marks[_key_of(one)] for one, copy in zip(batch, found, strict=True)]
        sent = iter(self._write([one for one, is_kept in zip(batch, kept, strict=True) if is_kept]))
        return [
            next(sent) if is_kept else self._outcome_of_changed(one, copy)
            for one, copy, is_kept in zip(batch, found, kept, strict=True)
        ]

    def _outcome_of_changed(self, element: Element, copy: TeamSample | None) -> SampleOutcome:
        """Return what became of a sample that was changed while this try waited."""
        if copy is not None and self.is_as_asked(copy, element):
            return SampleOutcome(element["sample_id"], True)
        return SampleOutcome(element["sample_id"], False, CHANGED)

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
                self.copies.read_again()
            return self._write_unchanged(batch)
        except ModelArtsError as error:
            # The samples have been checked: what the client refuses now is wrong for all of them.
            if refused_locally(error) or not is_fault_of_samples(error):
                raise
            self._count_request()
            if len(batch) == 1:
                return [SampleOutcome(batch[0]["sample_id"], False, error.code or "invalid", error.message)]
            middle = len(batch) // 2
            return self._write_unchanged(batch[:middle]) + self._write_unchanged(batch[middle:])
        self._count_request()
        return list(outcomes) if all(outcome.ok for outcome in outcomes) else self._look_up(batch, outcomes)

    def _count_request(self) -> None:
        self.requests += 1
        self.copies.note_request()

    def _look_up(self, batch: Sequence[Element], outcomes: Sequence[SampleOutcome]) -> list[SampleOutcome]:
        """Read what became of a batch: the positions in an answer only name suspects (B15)."""
        self.copies.read()
        told = next((outcome for outcome in outcomes if outcome.error_code), None)
        found = []
        for element, said in zip(batch, outcomes, strict=True):
            copy = self.copies.find(element, self.email)
            if copy is not None and self.is_as_asked(copy, element):
                found.append(SampleOutcome(said.sample_id, True))
            elif said.ok is None:
                found.append(said)
            else:
                reason = said if said.error_code else told or said
                found.append(SampleOutcome(said.sample_id, False, reason.error_code, reason.error_msg))
        return found


class _LabelClearing(_LabelWrite):
    """One clearing of copies in a team task."""

    is_sent_unfound: ClassVar[bool] = False

    def is_as_asked(self, copy: TeamSample, element: Element) -> bool:  # noqa: ARG002 - whatever was asked for it
        """Whether a copy has no labels."""
        return not is_labeled(copy)

    def replaces_nothing(self, copy: TeamSample) -> bool:  # noqa: ARG002 - it is asked about copies with labels only
        """Whether a write would replace no label: it takes them all."""
        return False

    def send(self, batch: Sequence[Element]) -> Sequence[SampleOutcome]:
        """Send one request."""
        copies = self.copies
        return copies.client.team_samples.clear_labels(
            copies.dataset_id, copies.task_id, batch, email=self.email, before_sending=self.check_again
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
