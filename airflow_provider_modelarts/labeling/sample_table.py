"""What is known of each sample: its status in a confirmation, and what a plan decided about it (B16, B18).

A dataset may hold a million samples, so both are packed.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING

from airflow_provider_modelarts.labeling.label_equality import fingerprint
from airflow_provider_modelarts.labeling.policy import Decision
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN, Failure
from airflow_provider_modelarts.labeling.sample_facts import different

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from airflow_provider_modelarts.client import Sample
    from airflow_provider_modelarts.client.sample_rows import SampleRow

AS_PLANNED = Decision("confirm", "planned")
CHANGED = Decision("leave", "changed_since_plan")
NOT_PLANNED = Decision("leave", "not_planned")
RESPELLED = Decision("leave", "respelled")
"""Its labels are spelled otherwise than in the plan, and may nevertheless be the same."""
_MASK_64 = 0xFFFF_FFFF_FFFF_FFFF


class ConfirmationStatus(IntEnum):
    """What became of a sample, so far."""

    CONFIRMED = 0
    """Its final labels are those that were decided upon."""
    REVIEW = 1
    """Left to people by the policy."""
    LEFT = 2
    """Not touched: the policy leaves it, or nothing was sent because of a stop or an error."""
    FAILED = 3
    """The service refused it, or its answer could not be had."""
    GONE = 4
    """No longer proposed, and it was not this run that confirmed it."""
    PLANNED = 5
    """To be confirmed; proposed with the labels decided upon when it was last read."""
    CHANGED = 6
    """Proposed with other labels than were decided upon, or new since the decisions."""
    UNKNOWN = 7
    """It carries the labels that were sent; whether this run or a person gave them is not known. Counts as failed."""


_STATUSES = tuple(ConfirmationStatus)
_BITS = 3
_MASK = (1 << _BITS) - 1
# By status, for a set would have to hash it, which enumerations do slowly.
_STAYS_LISTED = tuple(one.name in ("REVIEW", "LEFT", "FAILED", "PLANNED", "CHANGED") for one in _STATUSES)


def short_key(sample_id: str) -> str | bytes:
    """Return a shorter key for the usual id of 32 hex digits; at a million samples it saves 30 MB."""
    try:
        key = bytes.fromhex(sample_id)
    except ValueError:
        return sample_id
    # Spaces and capitals are read as well, and would be lost.
    return key if key.hex() == sample_id else sample_id


class SampleTable:
    """The status of each sample of a run, counted so that the sums can be checked.

    It holds one small number per sample: the status, and the pass in which the sample was last listed.
    """

    def __init__(self) -> None:
        self._states: dict[str | bytes, int] = {}
        self._planned: dict[str | bytes, int] = {}
        self._counts = [0] * len(_STATUSES)
        self._pass = 0
        self.by_label: dict[ConfirmationStatus, Counter[str]] = {
            ConfirmationStatus.CONFIRMED: Counter(),
            ConfirmationStatus.PLANNED: Counter(),
        }
        """For each label name, how many samples are confirmed, and were ever planned, with it."""
        self.remaining = 0
        """Samples listed in this pass that the service must still count."""
        self.repeats: Counter[str] = Counter()
        """For each sample that was listed more than once in this pass, how often more."""
        self.changes = 0
        """Samples whose status changed in this pass: whether the pass got anywhere."""
        self._failures: dict[str, tuple[str, int, list[str]]] = {}

    def begin_pass(self) -> None:
        """Count from zero what is listed; the statuses stay."""
        self._pass += 1
        self.remaining = self.changes = 0
        self.repeats.clear()

    def __len__(self) -> int:
        return len(self._states)

    def status(self, sample_id: str) -> ConfirmationStatus | None:
        """Return the status of a sample; None if it was never seen."""
        return self._at(short_key(sample_id))

    def _at(self, key: str | bytes) -> ConfirmationStatus | None:
        state = self._states.get(key)
        return None if state is None else _STATUSES[state & _MASK]

    def knows_any(self, sample_ids: Collection[str]) -> bool:
        """Whether any of these samples was ever seen."""
        return not self._states.keys().isdisjoint(map(short_key, sample_ids))

    def is_listed(self, sample_id: str) -> bool:
        """Whether a sample was listed in this pass."""
        state = self._states.get(short_key(sample_id))
        return state is not None and state >> _BITS == self._pass

    @property
    def repeated(self) -> int:
        """Rows of the list in this pass that showed a sample once more which the service must still count."""
        return sum(number for one, number in self.repeats.items() if _STAYS_LISTED[self.status(one) or 0])

    def count(self, status: ConfirmationStatus) -> int:
        """Return how many samples have a status."""
        return self._counts[status]

    @property
    def counts(self) -> dict[str, int]:
        """How many samples are confirmed, for review, left (changed ones too), failed, gone and planned."""
        counts = {status.name.lower(): self._counts[status] for status in _STATUSES[:6]}
        counts["left"] += self._counts[ConfirmationStatus.CHANGED]
        counts["failed"] += self._counts[ConfirmationStatus.UNKNOWN]
        return counts

    def mark_listed(self, sample_id: str) -> None:
        """Note that a sample known before is listed again; its status stays."""
        key = short_key(sample_id)
        status = self._at(key)
        if status is not None:
            self._put(key, status)

    def count_stale(self) -> None:
        """Note that a sample is listed that a single read shows to be no proposal any more: the list is behind."""
        self.remaining += 1

    def set_all(self, rows: Sequence[SampleRow], status: ConfirmationStatus) -> None:
        """Note the status of different samples, see :meth:`set_status`."""
        keys = [short_key(row.sample_id) for row in rows]
        if not self._states.keys().isdisjoint(keys):
            for row in rows:
                self.set_status(row, status)
            return
        self._states.update(dict.fromkeys(keys, status | self._pass << _BITS))
        self._counts[status] += len(keys)
        self.changes += len(keys)
        self.remaining += len(keys) if _STAYS_LISTED[status] else 0
        if status in self.by_label:
            self.by_label[status].update([name for row in rows for name in different(row.label_names)])

    def set_status(self, sample: Sample | SampleRow, status: ConfirmationStatus) -> None:
        """Note the status of a sample, listed now with the labels that were decided upon."""
        before = self._put(short_key(sample.sample_id), status)
        if before is status:
            return
        self.changes += 1
        if status is ConfirmationStatus.CONFIRMED or status is ConfirmationStatus.PLANNED:
            self.by_label[status].update(different(sample.label_names))
        if before is ConfirmationStatus.CONFIRMED:
            self.by_label[before].subtract(different(sample.label_names))

    def fail(self, sample: Sample | SampleRow, code: str, message: str) -> None:
        """Note that a sample could not be confirmed, and why."""
        self.set_status(sample, ConfirmationStatus.FAILED)
        text, number, shown = self._failures.get(code, (message, 0, []))
        # The first by id: which of several threads fails first is chance.
        insort(shown, sample.sample_id)
        del shown[SAMPLES_SHOWN:]
        self._failures[code] = (message if shown[0] == sample.sample_id else text, number + 1, shown)

    @property
    def failures(self) -> dict[str, Failure]:
        """The failed samples by code."""
        return {
            code: Failure(code, message, number, tuple(shown))
            for code, (message, number, shown) in sorted(self._failures.items())
        }

    def remember_labels(self, row: SampleRow) -> None:
        """Keep a fingerprint of the labels that a sample is to be confirmed with."""
        self._planned[short_key(row.sample_id)] = fingerprint(row)

    def decide_as_planned(self, rows: Sequence[SampleRow]) -> list[Decision]:
        """Confirm what :meth:`remember_labels` kept and still is as it was; leave what is new or has changed."""
        planned = self._planned
        return [AS_PLANNED if planned.get(short_key(row.sample_id)) == fingerprint(row) else CHANGED for row in rows]

    def _put(self, key: str | bytes, status: ConfirmationStatus) -> ConfirmationStatus | None:
        """Store a status; return the one before."""
        old, was = self._states.get(key), None
        if old is not None:
            was = _STATUSES[old & _MASK]
            self._counts[was] -= 1
            if old >> _BITS == self._pass and _STAYS_LISTED[was]:
                self.remaining -= 1
        self._counts[status] += 1
        self.remaining += _STAYS_LISTED[status]
        self._states[key] = status | self._pass << _BITS
        return was


class PlanIndex:
    """Decisions by sample id, in about 30 bytes per proposal (B18).

    Each bucket is a run of records of fixed width; looking one up is a search for its key in a few kilobytes. Keys are
    hashes of this process, which nobody outside can foresee.
    """

    _RECORD = Struct("<QQIB")
    _BUCKETS = 16384

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(self._BUCKETS)]
        self._decisions: list[Decision] = []
        self._codes: dict[Decision, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, sample_id: str) -> bool:
        key = _key(sample_id)
        return _bytes(key) in self._buckets[key % self._BUCKETS]

    def knows_any(self, sample_ids: Iterable[str]) -> bool:
        """Whether any of these samples is in the plan."""
        return any(map(self.__contains__, sample_ids))

    def add(self, row: SampleRow, decision: Decision) -> None:
        """Add a proposal at the next position; only of one to be confirmed the labels are compared later."""
        key = _key(row.sample_id)
        code = self._codes.setdefault(decision, len(self._decisions))
        if code == len(self._decisions):
            self._decisions.append(decision)
        seen = hash(bytes(row.labels)) if decision.action == "confirm" else 0
        self._buckets[key % self._BUCKETS] += self._RECORD.pack(key & _MASK_64, seen & _MASK_64, self._count, code)
        self._count += 1

    def find(self, sample_id: str) -> tuple[Decision, int] | None:
        """Return decision and position of a proposal; None if it is not in the plan."""
        found = self._record(sample_id)
        return None if found is None else (self._decisions[found[3]], found[2])

    def decide(self, rows: Sequence[SampleRow]) -> list[Decision]:
        """Return the decisions about proposals as they are now.

        :return: for each the planned decision; :data:`RESPELLED` if it was to be confirmed with labels that are not,
            byte for byte, those of now; :data:`NOT_PLANNED` if it is not in the plan
        """
        decided = []
        for row in rows:
            found = self._record(row.sample_id)
            if found is None:
                decided.append(NOT_PLANNED)
                continue
            _, seen, _, code = found
            decision = self._decisions[code]
            is_as_planned = decision.action != "confirm" or seen == hash(bytes(row.labels)) & _MASK_64
            decided.append(decision if is_as_planned else RESPELLED)
        return decided

    def _record(self, sample_id: str) -> tuple[int, int, int, int] | None:
        key = _key(sample_id)
        bucket = self._buckets[key % self._BUCKETS]
        # A hash is found nowhere but where it was put, so records need not be stepped through.
        place = bucket.find(_bytes(key))
        return None if place < 0 else self._RECORD.unpack_from(bucket, place)


def _key(sample_id: str) -> int:
    # That of an empty text is 0, and zeros stand in records as well.
    return hash(sample_id) or -1


def _bytes(key: int) -> bytes:
    return (key & _MASK_64).to_bytes(8, "little")
