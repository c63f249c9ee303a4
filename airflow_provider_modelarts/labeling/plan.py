"""Plans: every decision of one policy over one reading of the proposals, stored before anything is written.

A plan is JSON Lines. The first line says what was asked; then one line for each proposal, in the service's own words
with the decision added; the last line counts them and holds the digest of all bytes before it. A plan without its last
line, or with another one than its lines ask for, is refused.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import UnexpectedResponse
from airflow_provider_modelarts.client.resources.samples import HARD, HARD_REASONS, SIZE
from airflow_provider_modelarts.labeling import walk
from airflow_provider_modelarts.labeling.intent import CHANGED
from airflow_provider_modelarts.labeling.labels import fingerprint, raw_labels
from airflow_provider_modelarts.labeling.policy import (
    ConfirmPolicy,
    Decision,
    confirm_all,
    label_names,
    parse_policy,
)
from airflow_provider_modelarts.labeling.report import Summary
from airflow_provider_modelarts.labeling.result import ConfirmationResult
from airflow_provider_modelarts.labeling.service import Service
from airflow_provider_modelarts.labeling.storage import (
    SealedReader,
    SealedWriter,
    StorageDamaged,
    StoragePath,
    decode_object,
    encode_line,
    shown,
)
from airflow_provider_modelarts.labeling.untrimmed import Untrimmed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from airflow_provider_modelarts.client import ModelArtsClient, Page
    from airflow_provider_modelarts.client.clock import Clock

    ReadPage = Callable[[int, int], Page[Sample]]
    ReadPages = Callable[[ReadPage], Iterable[Page[Sample]]]

log = logging.getLogger(__name__)

FORMAT = "modelarts-confirmation-plan"
VERSION = 1
ACTIONS = ("confirm", "review", "leave")
ORIGIN = "@modelarts:origin_source"

NO_ID = Decision("leave", "no_sample_id")
NOT_PLANNED = Decision("leave", "not_planned")


class PlanRefused(StorageDamaged):
    """What lies at the plan's place is no plan, only a part of one, or was altered; nothing was written."""


@dataclass(frozen=True)
class PlanHeader:
    """What a plan was asked for.

    :param dataset_id: the dataset
    :param policy: the policy as a dict; None: confirm every proposal that has labels
    :param label_task_id: the labeling task that made the proposals, if the caller knows it
    :param filters: ``label_name``, ``low_score``, ``high_score`` of the list, each only if it was given
    :param made_by: who made it, as the caller says: dag, run, task ...; JSON primitives
    :param created_at: epoch seconds
    """

    dataset_id: str
    policy: Mapping[str, Any] | None = None
    label_task_id: str | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)
    made_by: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0


class PlannedSample(NamedTuple):
    """One line of a plan.

    :param sample: the proposal as it was decided upon, as far as anybody needs it: its labels exactly as they came,
        scores, origin, size, hard-example marks
    :param decision: what to do, and the rule that said so
    """

    sample: Sample
    decision: Decision


class Tally:
    """Counts of a plan's lines; writer and reader come to the same, or the plan was altered."""

    def __init__(self) -> None:
        self.actions = dict.fromkeys(ACTIONS, 0)
        self.rules: Counter[str] = Counter()
        self.by_label: Counter[str] = Counter()
        """For each label name, how many samples to be confirmed carry it."""

    def add(self, sample: Sample, decision: Decision) -> None:
        """Count a proposal."""
        self.actions[decision.action] += 1
        self.rules[decision.rule] += 1
        if decision.action == "confirm":
            self.by_label.update(label_names(sample))

    @property
    def total(self) -> int:
        """How many proposals were counted."""
        return sum(self.actions.values())

    def facts(self) -> dict[str, Any]:
        """Return the counts as the last line has them."""
        return {"proposals": self.total, **self.actions, "rules": dict(self.rules), "by_label": dict(self.by_label)}


class PlanIndex:
    """Decisions by sample id, in about 35 bytes per proposal (B18).

    Each bucket is a run of records of fixed width; looking one up is a search for its key in a few kilobytes.
    """

    _RECORD = Struct("<16sQIB")
    _BUCKETS = 4096

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(self._BUCKETS)]
        self._decisions: list[Decision] = []
        self._codes: dict[Decision, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, sample_id: str, decision: Decision, mark: int) -> None:
        """Add a proposal at the next position.

        :param sample_id: its id
        :param decision: what to do with it
        :param mark: the fingerprint of its labels
        """
        key = _key(sample_id)
        code = self._codes.setdefault(decision, len(self._decisions))
        if code == len(self._decisions):
            self._decisions.append(decision)
        self._buckets[_bucket(key)] += self._RECORD.pack(key, mark, self._count, code)
        self._count += 1

    def find(self, sample_id: str) -> tuple[Decision, int, int] | None:
        """Return decision, fingerprint and position of a proposal; None if it is not in the plan."""
        key = _key(sample_id)
        bucket = self._buckets[_bucket(key)]
        place = bucket.find(key)
        while place % self._RECORD.size and place >= 0:
            place = bucket.find(key, place + 1)
        if place < 0:
            return None
        _, mark, position, code = self._RECORD.unpack_from(bucket, place)
        return self._decisions[code], mark, position


class Plan:
    """A stored plan, read and checked from its first byte to its last.

    :param path: where it is
    :raises PlanRefused: if it is not there, not complete, altered, or of a later format
    """

    def __init__(self, path: StoragePath) -> None:
        self.path = path
        self.index = PlanIndex()
        self._tally = Tally()
        reading = _Reading(path)
        for sample, decision in reading.samples():
            self._tally.add(sample, decision)
            self.index.add(sample.sample_id, decision, fingerprint(sample) if decision.action == "confirm" else 0)
        self.header = reading.header
        self.digest = reading.check(self._tally)
        self.policy: ConfirmPolicy | None = _policy_of(reading)

    @property
    def uri(self) -> str:
        """Where the plan is, for results, headers and people."""
        return shown(self.path)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many proposals are to be confirmed, to be reviewed, and to be left."""
        return self._tally.actions

    @property
    def by_label(self) -> Mapping[str, int]:
        """For each label name, how many samples to be confirmed carry it."""
        return self._tally.by_label

    def __len__(self) -> int:
        return len(self.index)

    def samples(self) -> Iterator[PlannedSample]:
        """Yield the proposals in the plan's order, read from storage once more; memory stays flat.

        :raises PlanRefused: at the end, if the plan is not the one that was checked before
        """
        tally, reading = Tally(), _Reading(self.path)
        for planned in reading.samples():
            tally.add(*planned)
            yield planned
        if reading.check(tally) != self.digest:
            raise PlanRefused(f"The plan {self.uri} was exchanged while it was used. Make a new plan.")

    def decide(self, sample: Sample) -> Decision:
        """Return what the plan says about a proposal as it is now; stands in for ``ConfirmPolicy.decide``.

        :param sample: as it was read just now, its labels untrimmed
        :return: the planned decision; :data:`CHANGED` if it was to be confirmed with other labels (all keys but
            ``id`` count); :data:`NOT_PLANNED` if the plan does not know it
        """
        found = self.index.find(sample.sample_id)
        if found is None:
            return NOT_PLANNED
        decision, mark, _ = found
        return CHANGED if decision.action == "confirm" and fingerprint(sample) != mark else decision

    def check_guards(self) -> None:
        """Hold the policy's guards against the whole plan.

        :raises GuardFailed: naming the first that does not hold; the plan stays readable
        """
        if self.policy is not None:
            self.policy.check_guards(self.counts["confirm"], self.by_label)

    def result(self, requests: int = 0, seconds: float = 0.0) -> ConfirmationResult:
        """Return what the plan would do in the form of a confirmation's result."""
        return ConfirmationResult(
            seen=len(self),
            confirmed=self.counts["confirm"],
            review=self.counts["review"],
            left=self.counts["leave"],
            requests=requests,
            seconds=seconds,
            plan_uri=self.uri,
            by_label=dict(self.by_label),
            dataset_id=self.header.dataset_id,
        )

    def summarize(self) -> Summary:
        """Read the plan once more and return its summary for people."""
        summary = Summary()
        for sample, decision in self.samples():
            summary.add(sample, decision)
        return summary


class PlanWriter:
    """Writes a plan as a stream; to be used as a context manager.

    :param path: where to; appears there when it is complete
    :param header: what was asked
    """

    def __init__(self, path: StoragePath, header: PlanHeader) -> None:
        self._file = SealedWriter(path)
        self._header = header
        self.tally = Tally()

    def __enter__(self) -> Self:
        self._file.__enter__()
        self._file.write(encode_line({"format": FORMAT, "version": VERSION, **asdict(self._header)}))
        return self

    def add(self, sample: Sample, decision: Decision) -> None:
        """Add a proposal and its decision."""
        self.tally.add(sample, decision)
        self._file.write(encode_line(_line(sample, decision)))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self._file.seal(self.tally.facts())
        self._file.__exit__(kind, error, trace)


class PlanMade(NamedTuple):
    """What :func:`make_plan` returns.

    :param plan: the stored plan, read back and checked
    :param summary: for people
    :param result: the counts in the form of a confirmation's result, ready for XCom
    """

    plan: Plan
    summary: Summary
    result: ConfirmationResult


def make_plan(
    client: ModelArtsClient,
    dataset_id: str,
    path: StoragePath,
    *,
    policy: object = None,
    filters: Mapping[str, Any] | None = None,
    label_task_id: str | None = None,
    made_by: Mapping[str, Any] | None = None,
    read_pages: ReadPages = walk.walk,
    should_stop: Callable[[], bool] | None = None,
    clock: Clock = system_clock,
) -> PlanMade:
    """Read all proposals once, decide about each, and store the decisions; writes nothing to the dataset.

    Guards are not held here, so that the plan of a guard that fails can still be read: call ``plan.check_guards()``.

    :param client: speaks to the service
    :param dataset_id: whose proposals
    :param path: where the plan is stored; what is there is replaced
    :param policy: as :func:`~.policy.parse_policy` takes it; None: confirm every proposal that has labels
    :param filters: ``label_name``, ``low_score``, ``high_score`` of the list, checked, each only if it is to be sent
    :param label_task_id: the labeling task that made the proposals; noted in the plan
    :param made_by: noted in the plan: dag, run, task ...
    :param read_pages: reads every page once, given what reads one at an offset; default: one after the other
    :param should_stop: asked before each page; true ends the reading without a plan
    :param clock: the client's
    :raises InvalidPolicy: before anything is read
    :raises UnexpectedResponse: if the service lists fewer proposals than it counts (B11)
    :raises InterruptedError: if it was asked to stop
    """
    rules = parse_policy(policy)
    filters = dict(filters or {})
    service = Service(client, dataset_id, clock, filters)
    begun = clock.now()
    header = PlanHeader(
        dataset_id=dataset_id,
        policy=None if rules is None else rules.model_dump(mode="json", exclude_defaults=True),
        label_task_id=label_task_id,
        filters=filters,
        made_by=made_by or {},
        created_at=begun,
    )
    summary = Summary()
    decide = confirm_all if rules is None else rules.decide
    with PlanWriter(path, header) as writer:
        for sample in _Listing(service, should_stop or (lambda: False)).samples(read_pages):
            decision = decide(sample) if sample.sample_id else NO_ID
            writer.add(sample, decision)
            summary.add(sample, decision)
    plan = Plan(path)
    return PlanMade(plan, summary, plan.result(service.requests, clock.now() - begun))


class _Listing:
    """One reading of all proposals: each once, its labels whole, none missing that the service counts (B11)."""

    def __init__(self, service: Service, should_stop: Callable[[], bool]) -> None:
        self._service = service
        self._should_stop = should_stop
        self._totals: set[int] = set()
        self._seen: set[bytes] = set()
        self._nameless = 0

    def samples(self, read_pages: ReadPages) -> Iterator[Sample]:
        untrimmed = Untrimmed(self._service)
        for page in read_pages(self._page):
            for candidate in untrimmed.candidates(page, [sample for sample in page.items if self._is_new(sample)]):
                yield candidate.sample
        self._check()

    def _page(self, offset: int, limit: int) -> Page[Sample]:
        if self._should_stop():
            raise InterruptedError("The run was asked to stop; no plan was stored.")
        page = self._service.page(offset, limit)
        self._totals.add(walk.count(page))
        return page

    def _is_new(self, sample: Sample) -> bool:
        if not sample.sample_id:
            self._nameless += 1
            return True
        key = _key(sample.sample_id)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _check(self) -> None:
        count = len(self._seen) + self._nameless
        if len(self._totals) > 1:
            log.warning(
                "The proposals of dataset %s changed while they were read; the plan may not hold all of them. What it "
                "does not hold is not touched.",
                self._service.dataset_id,
            )
        elif count < max(self._totals, default=0):
            raise UnexpectedResponse(
                f"Cannot plan for dataset {self._service.dataset_id}: the service counts {max(self._totals)} "
                f"proposals, but lists only {count}. Somebody may be changing the dataset: try again."
            )


class _Reading:
    """One reading of a stored plan."""

    def __init__(self, path: StoragePath) -> None:
        self._file = SealedReader(path)
        self._path = path
        self.header = PlanHeader("")

    def samples(self) -> Iterator[PlannedSample]:
        decisions: dict[tuple[str, str], Decision] = {}
        try:
            lines = self._file.lines()
            self.header = self._header(next(lines, b""))
            for line in lines:
                raw = decode_object(line)
                said = (raw or {}).get("decision"), (raw or {}).get("rule")
                if raw is None or said[0] not in ACTIONS or not isinstance(said[1], str):
                    raise self.refused("a line in it is no decision")
                decision = decisions.setdefault(said, Decision(*said))  # type: ignore[arg-type]  # just checked
                yield PlannedSample(Sample(raw), decision)
        except StorageDamaged as error:
            raise PlanRefused(error.message) from None

    def check(self, tally: Tally) -> str:
        try:
            return self._file.check(tally.facts())
        except StorageDamaged:
            raise self.refused("it is not complete or was altered") from None

    def refused(self, reason: str) -> PlanRefused:
        return PlanRefused(
            f"The plan {shown(self._path)} is refused: {reason}. Nothing was written. Remove it and make a new plan."
        )

    def _header(self, line: bytes) -> PlanHeader:
        raw = decode_object(line) or {}
        if raw.pop("format", None) != FORMAT:
            raise self.refused("this is no plan, or only a part of one")
        if raw.pop("version", None) != VERSION:
            raise self.refused(f"it has another format than version {VERSION}")
        try:
            return PlanHeader(**raw)
        except TypeError:
            raise self.refused("its first line was altered") from None


def _policy_of(reading: _Reading) -> ConfirmPolicy | None:
    policy = reading.header.policy
    return None if policy is None else parse_policy(dict(policy))


def _line(sample: Sample, decision: Decision) -> dict[str, Any]:
    """Return a proposal in the service's own words, without its addresses: those carry signatures (B20)."""
    line: dict[str, Any] = {
        "sample_id": sample.sample_id,
        "decision": decision.action,
        "rule": decision.rule,
        "labels": raw_labels(sample),
    }
    raw = sample.raw
    if raw.get("score") is not None:
        line["score"] = raw["score"]
    metadata = sample.metadata
    kept = {name: metadata[name] for name in (SIZE, HARD, HARD_REASONS) if name in metadata}
    origin = sample.origin
    if origin is not None:
        place = without_signature(origin)
        if "://" in place and place.split("://", 1)[0] in ("s3", "obs"):
            kept[ORIGIN] = place
        else:
            line["source"] = place
    if kept:
        line["metadata"] = kept
    return line


def without_signature(origin: str) -> str:
    """Return a sample's origin without what looks like a query; an object's name may hold a question mark."""
    place, mark, query = origin.partition("?")
    return place if mark and "=" in query else origin


def _key(sample_id: str) -> bytes:
    return blake2b(sample_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _bucket(key: bytes) -> int:
    return key[0] << 4 | key[1] >> 4
