"""Plans: every decision of one policy over one reading of the proposals, stored before anything is written.

A plan is JSON Lines. The first line says what was asked for; then comes one line for each proposal, in the service's
own words with the decision added; the last line counts them and holds the digest of all bytes before it. A plan whose
last line is missing or does not fit is refused. The last line also keeps what was counted and compared while the plan
was made (see ``labeling.drift``); the digest covers that.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec
from msgspec import field

from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.client.resources.samples import HARD, HARD_REASONS, SIZE, STABLE_SCHEMES
from airflow_provider_modelarts.client.sample_rows import NOTHING, SampleRow, parse_row, row_of
from airflow_provider_modelarts.labeling.drift import Drift, ProposalCounts
from airflow_provider_modelarts.labeling.label_equality import fingerprint, labels_as_list
from airflow_provider_modelarts.labeling.plan.summary import PlanSummary
from airflow_provider_modelarts.labeling.policy import ODD, Decision, GuardFailed, parse_policy
from airflow_provider_modelarts.labeling.results import ConfirmationResult
from airflow_provider_modelarts.labeling.sample_facts import different, facts_of_row
from airflow_provider_modelarts.labeling.sample_table import CHANGED, RESPELLED, PlanIndex
from airflow_provider_modelarts.labeling.storage.path import StoragePath, display_uri
from airflow_provider_modelarts.labeling.storage.sealed_file import (
    SealedReader,
    SealedWriter,
    StorageDamaged,
    decode_object,
    encode_line,
    encode_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_modelarts.client import Sample

log = logging.getLogger(__name__)

FORMAT = "modelarts-confirmation-plan"
VERSION = 1
ACTIONS = ("confirm", "review", "leave")
ORIGIN = "@modelarts:origin_source"
DRIFTED = Decision("review", "label_drifted")
"""Of a sample that would be confirmed, but carries a label that moved since an earlier plan."""


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
    :param created_at: epoch seconds
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
        fields = asdict(self)
        if self.narrowed_by is None:
            del fields["narrowed_by"]  # versions that know no such plans read all others
        return fields


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


class PlannedSample(NamedTuple):
    """One line of a plan.

    :param sample: the proposal as it was decided upon, as far as anybody needs it: its labels exactly as they came,
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
    """What was counted and compared while a plan was made; its last line keeps it.

    :param counts: of all proposals by first label; None: an older version made the plan
    :param fresh: the same of those only that the earlier plan did not have; None: it was compared with none
    :param drift: what was found when it was compared; None: the policy has no ``max_drift``
    """

    counts: ProposalCounts | None = None
    fresh: ProposalCounts | None = None
    drift: Drift | None = None

    def to_json(self) -> dict[str, Any] | None:
        """Return what the last line keeps; None if that is nothing."""
        kept = {
            "counts": None if self.counts is None else self.counts.labels,
            "fresh": None if self.fresh is None else self.fresh.labels,
            "drift": None if self.drift is None else self.drift.to_json(),
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
        )


class Tally:
    """Counts of a plan's lines; a reader whose counts differ from the last line refuses the plan."""

    def __init__(self) -> None:
        self.actions = dict.fromkeys(ACTIONS, 0)
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


class Plan:
    """A stored plan, complete and unaltered: :func:`read_plan` and :class:`PlanWriter` give it out.

    :param path: where it is
    :param header: what was asked
    :param tally: the counts of its lines
    :param index: its decisions by sample id
    :param digest: of all bytes but the last line, and of what that one notes
    :param notes: what was counted and compared while it was made
    """

    def __init__(
        self,
        path: StoragePath,
        header: PlanHeader,
        tally: Tally,
        index: PlanIndex,
        digest: str,
        notes: PlanNotes | None = None,
    ) -> None:
        self.path = path
        self.header = header
        self.index = index
        self.digest = digest
        self.notes = PlanNotes() if notes is None else notes
        self.counts: Mapping[str, int] = tally.actions
        """How many proposals are to be confirmed, to be reviewed, and to be left."""
        self.by_label: Mapping[str, int] = tally.by_label
        """For each label name, how many samples to be confirmed carry it."""
        self._rules = tally.rules
        self.policy = None if header.policy is None else parse_policy(dict(header.policy))

    @property
    def drift(self) -> Drift | None:
        """What was found when it was compared with an earlier plan; None if the policy has no ``max_drift``."""
        return self.notes.drift

    @property
    def counts_of_new(self) -> ProposalCounts | None:
        """Counts of the samples that it proposes for the first time, as far as that is known; None in older plans."""
        return self.notes.counts if self.notes.fresh is None else self.notes.fresh

    @property
    def uri(self) -> str:
        """Where the plan is, for results, headers and people."""
        return display_uri(self.path)

    def __len__(self) -> int:
        """Return how many proposals the plan holds."""
        return len(self.index)

    def __bool__(self) -> bool:
        """Return true: a plan without lines says that nothing is to be confirmed, and is not "no plan"."""
        return True

    def confirms(self, sample_id: str) -> bool:
        """Whether a sample is to be confirmed."""
        found = self.index.find(sample_id)
        return found is not None and found[0].action == "confirm"

    def samples(self) -> Iterator[PlannedSample]:
        """Yield the proposals in the plan's order, read from storage once more; memory stays flat.

        Where labels have drifted and the policy says ``on_drift="review"``, the decisions are those that hold after
        that: the lines were written before it was known.

        :raises PlanRefused: at the end, if the plan is not the one that was checked before
        """
        reader, drift = _PlanReader(self.path), self.drift
        if drift is None or not drift.holds_back:
            yield from reader.samples()
        else:
            for row, decision in reader.samples():
                # Who was drawn for an audit speaks for those who would be confirmed, and goes with them.
                may_be_held = decision.action == "confirm" or decision.rule == "audit_sample"
                is_held = may_be_held and drift.concerns(row.label_names)
                yield PlannedSample(row, DRIFTED if is_held else decision)
        if reader.check() != self.digest:
            raise PlanRefused(f"The plan {self.uri} was exchanged while it was used. Make a new plan.")

    def decide(self, sample: Sample) -> Decision:
        """Return what the plan says about a proposal as it is now; used in place of ``ConfirmPolicy.decide``.

        :param sample: as it was read just now, with all its labels
        :return: the planned decision; :data:`CHANGED` if it was to be confirmed with other labels (all keys but
            ``id`` count); :data:`NOT_PLANNED` if the plan does not know it
        """
        return self.decide_rows([row_of(sample)])[0]

    def decide_rows(self, rows: Sequence[SampleRow]) -> list[Decision]:
        """Return what the plan says about proposals, see :meth:`decide`."""
        decided = self.index.decide(rows)
        for place, row in enumerate(rows) if RESPELLED in decided else ():
            found = self.index.find(row.sample_id)
            if decided[place] is RESPELLED and found is not None:
                decision, position = found
                decided[place] = decision if self._marks[position] == fingerprint(row) else CHANGED
        return decided

    @cached_property
    def _marks(self) -> array[int]:
        """The fingerprints of the labels, by position; read when a service spells labels otherwise than before."""
        return array("Q", (fingerprint(row) for row, _ in self.samples()))

    def differs_in(self, **asked: object) -> list[str]:
        """Return the names of those arguments that the plan was made for otherwise.

        :param asked: ``dataset_id``, ``policy`` (parsed), ``filters``, ``first_label``, ``label_task_id``; those given
            are compared
        """
        header = self.header
        made_for: dict[str, object] = {
            "dataset_id": header.dataset_id,
            "policy": self.policy,
            "filters": dict(header.filters),
            "first_label": header.first_label,
            "label_task_id": header.label_task_id,
        }
        return [name for name, wanted in asked.items() if made_for[name] != wanted]

    def check_made_for(self, **asked: object) -> None:
        """Refuse the plan if it was made for something else.

        :param asked: as in :meth:`differs_in`
        :raises PlanRefused: naming what differs
        """
        differing = self.differs_in(**asked)
        if differing:
            raise PlanRefused(
                f"The plan {self.uri} was made for another {' and '.join(differing)} than asked for now; nothing was "
                "written. Give the plan of this dataset and policy, or another place to store a new one; if an earlier "
                "try of an Airflow task has stored it, clear the task to make a new plan."
            )

    @property
    def proven_by(self) -> tuple[str, str] | None:
        """Where the evidence is by which it was narrowed, for people, and its digest; None: it was not."""
        by: Any = self.header.narrowed_by
        while isinstance(by, Mapping) and "evidence_digest" not in by:
            by = by.get("narrowed_by")
        return (str(by.get("evidence_uri")), str(by["evidence_digest"])) if isinstance(by, Mapping) else None

    @property
    def is_candidate(self) -> bool:
        """Whether its policy has a target that nothing has proven yet: then nothing may be confirmed by it."""
        return self.policy is not None and self.policy.target_precision is not None and self.proven_by is None

    @property
    def asked(self) -> Mapping[str, Any]:
        """The rules of the policy, by name, and the filters, for people; without a policy no rule."""
        rules = {} if self.policy is None else self.policy.model_dump(mode="json", exclude_defaults=True)
        if self.policy is not None:
            rules["hard_examples"] = self.policy.hard_examples  # it holds also if nothing was said about it
        filters = dict(self.header.filters)
        if self.header.first_label is not None:
            # The list is filtered by that label, which says less.
            filters = {**filters, "first_label": self.header.first_label}
            filters.pop("label_name", None)
        return {**rules, **filters}

    def check_guards(self) -> None:
        """Check the policy's guards against the whole plan.

        :raises GuardFailed: naming the first that does not hold; the plan stays readable
        """
        if self.policy is None:
            return
        self.policy.check_guards(self.counts["confirm"], self.by_label)
        if self.policy.max_drift is not None:
            self._check_drift(self.policy.max_drift)

    def _check_drift(self, max_drift: float) -> None:
        drift = self.drift
        if drift is None:
            raise GuardFailed(
                f"The guard max_drift={max_drift:g} cannot be judged: the plan {self.uri} was compared with no other "
                "one while it was made. Nothing was written. Make a new plan."
            )
        text = " ".join(drift.notes())
        if drift.moved and drift.action == "fail":
            raise GuardFailed(
                f"The guard max_drift={max_drift:g} does not hold. {text} Nothing was written. Look at samples of what "
                "moved. If the change is right, confirm once with on_drift='warn': the next run compares with that."
            )
        log.log(logging.WARNING if drift.moved else logging.INFO, "%s", text)

    def result(self, requests: int = 0, seconds: float = 0.0) -> ConfirmationResult:
        """Return what the plan would do in the form of a confirmation's result."""
        odd = self._rules["no_sample_id"] + self._rules[ODD]
        return ConfirmationResult(
            seen=len(self),
            confirmed=self.counts["confirm"],
            review=self.counts["review"],
            left=self.counts["leave"] - odd,
            failed=odd,
            requests=requests,
            seconds=seconds,
            plan_uri=self.uri,
            by_label=dict(self.by_label),
            dataset_id=self.header.dataset_id,
            preview=True,
        )

    def summarize(self) -> PlanSummary:
        """Read the plan once more and return its summary for people."""
        summary = PlanSummary()
        for row, decision in self.samples():
            summary.add(row, facts_of_row(row), decision)
        return summary


def read_plan(path: StoragePath) -> Plan:
    """Read a stored plan and check it from its first byte to its last.

    :param path: where it is
    :raises PlanRefused: if it is not there, not complete, altered, or of another format
    """
    index, reader = PlanIndex(), _PlanReader(path)
    for row, decision in reader.samples():
        index.add(row, decision)
    digest = reader.check()
    plan = Plan(path, reader.header, reader.tally, index, digest, reader.notes)
    return _held_back(plan) if plan.drift is not None and plan.drift.holds_back else plan


def _held_back(plan: Plan) -> Plan:
    """Return a plan with the decisions that hold after labels have drifted; reads it once more."""
    tally, index = Tally(), PlanIndex()
    for row, decision in plan.samples():
        tally.add(row, decision)
        index.add(row, decision)
    return Plan(plan.path, plan.header, tally, index, plan.digest, plan.notes)


def read_header(path: StoragePath) -> PlanHeader:
    """Return the first line of a plan; nothing says yet that it is what was written.

    :raises PlanRefused: if it is not there, or no plan
    """
    return _PlanReader(path).read_header()


class PlanWriter:
    """Writes a plan as a stream; to be used as a context manager.

    :param path: where to; appears there when it is complete
    :param header: what was asked
    :param keep: None: what is there is replaced. Else called with a complete plan that is there when this one is to be
        stored; true: that one counts, and this one is thrown away
    """

    def __init__(self, path: StoragePath, header: PlanHeader, *, keep: Callable[[Plan], bool] | None = None) -> None:
        self._path = path
        self._keep = keep
        self._first: Plan | None = None
        self._file = SealedWriter(path, keeps=None if keep is None else self._keeps)
        self._header = header
        self._tally = Tally()
        self._digest = ""
        self.notes = PlanNotes()
        """What the last line keeps beyond the counts of decisions; to be set before the end."""
        self.index = PlanIndex()

    def __enter__(self) -> Self:
        self._file.__enter__()
        self._file.write(encode_line({"format": FORMAT, "version": VERSION, **self._header.to_json()}))
        return self

    def add(self, sample: Sample, decision: Decision) -> None:
        """Add a proposal and its decision."""
        self.add_rows([row_of(sample)], [decision])

    def add_rows(self, rows: Sequence[SampleRow], decisions: Sequence[Decision]) -> None:
        """Add proposals and the decisions about them."""
        for row, decision in zip(rows, decisions, strict=True):
            self._tally.add(row, decision)
            self.index.add(row, decision)
        self._file.write(b"".join(map(_line, rows, decisions)))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self._digest = self._file.seal(self._tally.facts(), self.notes.to_json())
        self._file.__exit__(kind, error, trace)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many proposals are to be confirmed, to be reviewed, and to be left, so far."""
        return self._tally.actions

    def plan(self) -> Plan:
        """Return the plan that counts, once it is stored."""
        if self._first is not None:
            return self._first
        made = Plan(self._path, self._header, self._tally, self.index, self._digest, self.notes)
        return _held_back(made) if made.drift is not None and made.drift.holds_back else made

    @property
    def has_lost(self) -> bool:
        """Whether another plan was there first, and counts."""
        return self._first is not None

    def _keeps(self) -> bool:
        """Whether the plan at the path counts, and not the one written here."""
        try:
            there = read_plan(self._path)
        except PlanRefused:
            return False
        self._first = there if self._keep is not None and self._keep(there) else None
        return self._first is not None


class _PlanReader:
    """Reads a stored plan once, and counts its lines."""

    def __init__(self, path: StoragePath) -> None:
        self._file = SealedReader(path)
        self._path = path
        self.header = PlanHeader("")
        self.tally = Tally()
        self.notes = PlanNotes()

    def samples(self) -> Iterator[PlannedSample]:
        """Yield the proposals; nothing says that they are what was written until :meth:`check` has passed."""
        decisions: dict[tuple[str, str], Decision] = {}
        try:
            lines = self._file.lines()
            self.header = self._header(next(lines, b""))
            for line in lines:
                row, action, rule = _parse_line(line)
                if row is None or action not in ACTIONS or not isinstance(rule, str):
                    raise self._refused("a line in it is no decision")
                decision = decisions.get((action, rule))
                if decision is None:
                    decision = decisions[action, rule] = Decision(action, rule)
                self.tally.add(row, decision)
                yield PlannedSample(row, decision)
        except StorageDamaged as error:
            raise PlanRefused(error.message) from None

    def read_header(self) -> PlanHeader:
        try:
            return self._header(next(self._file.lines(), b""))
        except StorageDamaged as error:
            raise PlanRefused(error.message) from None

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

    def _header(self, line: bytes) -> PlanHeader:
        raw = decode_object(line) or {}
        if raw.pop("format", None) != FORMAT:
            raise self._refused("this is no plan, or only a part of one")
        if raw.pop("version", None) != VERSION:
            raise self._refused(f"it has another format than version {VERSION}")
        try:
            return PlanHeader(**raw)
        except TypeError:
            raise self._refused("its first line was altered") from None

    def _refused(self, reason: str) -> PlanRefused:
        return PlanRefused(
            f"The plan {display_uri(self._path)} is refused: {reason}. "
            "Nothing was written. Remove it and make a new plan."
        )


_decode_line = msgspec.json.Decoder(_PlannedRow).decode


def _parse_line(line: bytes) -> tuple[SampleRow | None, Any, Any]:
    """Return the row of a line, and what it says of the decision; no row if it is no object."""
    try:
        if not line.isascii():
            line.decode()
        row = _decode_line(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raw = decode_object(line)
        return (None, None, None) if raw is None else (parse_row(line), raw.get("decision"), raw.get("rule"))
    return row, row.decision, row.rule


def _line(row: SampleRow, decision: Decision) -> bytes:
    """Return the line of a proposal."""
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
