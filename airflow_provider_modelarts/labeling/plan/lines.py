"""The file of a plan: its lines, and how they are read.

A plan is JSON Lines. The first line says what was asked for; then comes one line for each proposal, in the service's
own words with the decision added; the last line counts them and holds the digest of all bytes before it. A plan whose
last line is missing or does not fit is refused. The last line also keeps what was counted and compared while the plan
was made (see ``labeling.drift``); the digest covers that.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec
from msgspec import field

from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.client.resources.samples import HARD, HARD_REASONS, SIZE, STABLE_SCHEMES
from airflow_provider_modelarts.client.sample_rows import NOTHING, SampleRow, parse_row
from airflow_provider_modelarts.labeling.drift import Drift, ProposalCounts
from airflow_provider_modelarts.labeling.label_equality import labels_as_list
from airflow_provider_modelarts.labeling.policy import ACTIONS, Decision
from airflow_provider_modelarts.labeling.sample_facts import different
from airflow_provider_modelarts.labeling.storage.path import StoragePath, display_uri
from airflow_provider_modelarts.labeling.storage.sealed_file import (
    SealedReader,
    StorageDamaged,
    decode_object,
    encode_line,
    encode_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_modelarts.client import Sample

_FORMAT = {"format": "modelarts-confirmation-plan", "version": 1}
ORIGIN = "@modelarts:origin_source"


class PlanRefused(StorageDamaged):
    """The file at the plan's place is no plan, only a part of one, altered, or for something else."""


@dataclass(frozen=True)
class PlanHeader:
    """What a plan was asked for.

    :param dataset_id: the dataset
    :param policy: the policy as a dict; None: confirm every proposal that has labels
    :param label_task_id: the labeling task that made the proposals, if the caller knows it
    :param filters: ``label_name``, ``label_type``, ``low_score``, ``high_score``, ``search_conditions`` of the list,
        each only if it was given
    :param first_label: only proposals whose first label has this name; None: all
    :param made_by: who made it, as the caller says: dag, run, task ...; JSON primitives
    :param created_at: when it was begun, epoch seconds
    :param narrowed_by: of a plan that was made of another by taking confirmations back: which one, and by what; None:
        it was made of the proposals themselves
    """

    dataset_id: str
    policy: Mapping[str, Any] | None = None
    label_task_id: str | None = None
    filters: Mapping[str, Any] = dataclass_field(default_factory=dict)
    first_label: str | None = None
    made_by: Mapping[str, Any] = dataclass_field(default_factory=dict)
    created_at: float = 0.0
    narrowed_by: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the header as the first line has it."""
        fields = _FORMAT | asdict(self)
        if self.narrowed_by is None:
            del fields["narrowed_by"]  # versions that know no such plans read all others
        return fields


class PlannedSample(NamedTuple):
    """One line of a plan.

    :param row: the proposal as it was decided upon, as far as anybody needs it: its labels exactly as they came,
        scores, origin, size, hard-example marks
    :param decision: what to do, and the rule that said so
    """

    row: SampleRow
    decision: Decision

    @property
    def sample(self) -> Sample:
        """The proposal as a model."""
        return self.row.sample


@dataclass(frozen=True)
class PlanNotes:
    """What is known of a plan only when it is made; its last line keeps it.

    :param counts: of all proposals by first label; None: an older version made the plan
    :param fresh: the same of those only that the earlier plan did not have; None: it was compared with none
    :param drift: what was found when it was compared; None: the policy has no ``max_drift``
    :param completed_at: when all proposals were decided about, epoch seconds; None: an older version made the plan
    """

    counts: ProposalCounts | None = None
    fresh: ProposalCounts | None = None
    drift: Drift | None = None
    completed_at: float | None = None

    def to_json(self) -> dict[str, Any] | None:
        """Return what the last line keeps; None if that is nothing."""
        kept = {
            "counts": None if self.counts is None else self.counts.labels,
            "fresh": None if self.fresh is None else self.fresh.labels,
            "drift": None if self.drift is None else self.drift.to_json(),
            "completed_at": self.completed_at,
        }
        return {name: value for name, value in kept.items() if value is not None} or None

    @classmethod
    def from_json(cls, raw: Mapping[str, Any] | None) -> Self:
        """Return what a last line has kept."""
        raw = {} if raw is None else raw
        counts, fresh, drift = (raw.get(name) for name in ("counts", "fresh", "drift"))
        return cls(
            None if counts is None else ProposalCounts(counts),
            None if fresh is None else ProposalCounts(fresh),
            None if drift is None else Drift.from_json(drift),
            raw.get("completed_at"),
        )


class Tally:
    """Counts of a plan's lines; a reader whose counts differ from the last line refuses the plan."""

    def __init__(self) -> None:
        self.actions: dict[str, int] = dict.fromkeys(ACTIONS, 0)
        self.rules: Counter[str] = Counter()
        self.by_label: Counter[str] = Counter()
        """For each label name, how many samples to be confirmed carry it."""

    def add(self, row: SampleRow, decision: Decision) -> None:
        """Count a proposal."""
        self.actions[decision.action] += 1
        self.rules[decision.rule] += 1
        if decision.action == "confirm":
            for name in different(row.label_names):
                self.by_label[name] += 1

    def facts(self) -> dict[str, Any]:
        """Return the counts as the last line has them."""
        total = sum(self.actions.values())
        return {"proposals": total, **self.actions, "rules": dict(self.rules), "by_label": dict(self.by_label)}


class PlanReader:
    """Reads a stored plan once, and counts its lines.

    ``header`` is to be read after the first proposal, ``notes`` after :meth:`check`.
    """

    def __init__(self, path: StoragePath) -> None:
        self._file = SealedReader(path)
        self._path = path
        self.header = PlanHeader("")
        self.tally = Tally()
        self.notes = PlanNotes()

    def samples(self) -> Iterator[PlannedSample]:
        """Yield the proposals; nothing says that they are what was written until :meth:`check` has passed."""
        lines = self._lines()
        self.header = self._parse_header(next(lines, b""))
        for line in lines:
            planned = _parse_line(line)
            if planned is None:
                raise self._refused("a line in it is no decision")
            self.tally.add(*planned)
            yield planned

    def read_header(self) -> PlanHeader:
        """Return the first line alone."""
        return self._parse_header(next(self._lines(), b""))

    def check(self) -> str:
        """Return the digest, after the last sample."""
        try:
            digest = self._file.check(self.tally.facts())
        except StorageDamaged:
            raise self._refused("it is not complete or was altered") from None
        try:
            self.notes = PlanNotes.from_json(self._file.noted)
        except (TypeError, ValueError, KeyError, AttributeError):
            raise self._refused("another version has made it, whose last line this one cannot read") from None
        return digest

    def _lines(self) -> Iterator[bytes]:
        try:
            yield from self._file.lines()
        except StorageDamaged as error:
            raise PlanRefused(error.message) from None

    def _parse_header(self, line: bytes) -> PlanHeader:
        raw = decode_object(line) or {}
        if raw.pop("format", None) != _FORMAT["format"]:
            raise self._refused("this is no plan, or only a part of one")
        if raw.pop("version", None) != _FORMAT["version"]:
            raise self._refused(f"it has another format than version {_FORMAT['version']}")
        try:
            return PlanHeader(**raw)
        except TypeError:
            raise self._refused("its first line was altered") from None

    def _refused(self, reason: str) -> PlanRefused:
        return PlanRefused(
            f"The plan {display_uri(self._path)} is refused: {reason}. "
            "Nothing was written. Remove it and make a new plan."
        )


# --- one line


class _Metadata(msgspec.Struct, omit_defaults=True, gc=False):
    size: msgspec.Raw = field(default=NOTHING, name=SIZE)
    hard: bool | int | float | str | None = field(default=None, name=HARD)
    hard_reasons: Any = field(default=None, name=HARD_REASONS)
    origin: str | None = field(default=None, name=ORIGIN)


_NOTHING_KEPT = _Metadata()


class _PlanLine(msgspec.Struct, omit_defaults=True, gc=False):
    """A proposal in the service's own words, without its addresses: those carry signatures (B20)."""

    sample_id: str
    decision: str
    rule: str
    labels: msgspec.Raw
    score: Any = None
    source: str | None = None
    metadata: _Metadata | None = None


class _PlannedRow(SampleRow, kw_only=True):
    """A line of a plan as a row."""

    decision: str
    rule: str


_decode_line = msgspec.json.Decoder(_PlannedRow).decode


def _parse_line(line: bytes) -> PlannedSample | None:
    """Return the proposal of a line and what is to be done with it; None if the line does not say so."""
    row: SampleRow
    action: Any
    rule: Any
    try:
        if not line.isascii():
            line.decode()  # msgspec keeps the bytes of labels without a look
        row = planned = _decode_line(line)
        action, rule = planned.decision, planned.rule
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raw = decode_object(line)
        if raw is None:
            return None
        row, action, rule = parse_row(line), raw.get("decision"), raw.get("rule")
    return PlannedSample(row, Decision(action, rule)) if action in ACTIONS and isinstance(rule, str) else None


def encode_planned(row: SampleRow, decision: Decision) -> bytes:
    """Return the line of a proposal and the decision about it."""
    if row.is_odd:
        return _odd_line(row, decision)
    source, origin = _places(row.origin)
    metadata = row.metadata
    kept = _Metadata(origin=origin)
    if metadata is not None:
        kept = _Metadata(metadata.size, metadata.hard, metadata.hard_reasons, origin)
    line = _PlanLine(row.sample_id, decision.action, decision.rule, labels_as_list(row), row.score, source)
    if kept != _NOTHING_KEPT:
        line.metadata = kept
    return encode_record(line)


def _odd_line(row: SampleRow, decision: Decision) -> bytes:
    """Return the line of a proposal that is not as documented; what cannot be read of it is left out."""
    sample = row.sample
    metadata = sample.metadata
    kept = {name: metadata[name] for name in (SIZE, HARD, HARD_REASONS) if name in metadata}
    source, origin = _places(sample.origin)
    if origin is not None:
        kept[ORIGIN] = origin
    line = _PlanLine(
        sample.sample_id,
        decision.action,
        decision.rule,
        labels_as_list(row),
        None if sample.raw.get("score") is None else msgspec.Raw(encode_line(sample.raw["score"])[:-1]),
        source,
    )
    whole = encode_record(line)
    return b'%b,"metadata":%b}\n' % (whole[:-2], encode_line(kept)[:-1]) if kept else whole


def _places(origin: str | None) -> tuple[str | None, str | None]:
    """Return where a sample lies: as an address, or as a place of object storage; without signatures."""
    place = None if origin is None else without_queries(origin)
    return (None, place) if place is not None and place.startswith(STABLE_SCHEMES) else (place, None)
