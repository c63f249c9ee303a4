"""Confirmations with a plan and a ledger that are killed at any request or any store, and tried again (B17)."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from airflow_provider_modelarts.labeling.apply.confirmation import LedgerTarget
from airflow_provider_modelarts.labeling.ledger import recorder as recording
from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
from airflow_provider_modelarts.labeling.ledger.reader import Ledger, read_ledger, replay
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, read_plan
from tests.labeling.model import DATASET, Killed, ModelClient, ModelService, Violation, stored
from tests.labeling.object_store import Bucket
from tests.labeling.simulation import POLICIES, confirm_in, draw_sample

if TYPE_CHECKING:
    from airflow_provider_modelarts.labeling.plan.plan_file import PlannedSample
    from airflow_provider_modelarts.labeling.results import ConfirmationResult

TRIES = 5


class MortalBucket(Bucket):
    """Object storage that a dead process cannot reach."""

    service: ModelService | None = None

    def __truediv__(self, name: str) -> MortalBucket:
        path = MortalBucket(f"{self}/{name}", self.objects)
        path.service = self.service
        return path

    @property
    def parent(self) -> MortalBucket:
        path = MortalBucket(str(self).rpartition("/")[0], self.objects)
        path.service = self.service
        return path

    def open(self, mode: str = "rb") -> Any:
        assert self.service is not None
        if mode != "rb":
            self.service.before_request("store")
        if self.service.is_caller_dead:
            raise Killed
        return super().open(mode)


class Retried:
    """What happened in all tries of one confirmation, and what is left of it."""

    def __init__(self, rng: random.Random, *, people: int = 0) -> None:
        self.rng = rng = random.Random(rng.getrandbits(64))
        self.initial = [draw_sample(rng, number) for number in range(rng.randint(1, 30))]
        self.service = ModelService(self.initial, rng, by_record=rng.random() < 0.5, latency=1.0)
        self.bucket = MortalBucket()
        self.bucket.service = self.service
        self.policy = rng.choice(POLICIES)
        self.people = people
        self.digests: set[str] = set()
        self.events: Counter[str] = Counter()
        self.result: ConfirmationResult | None = None

    def run(self) -> None:
        for try_number in range(1, TRIES + 1):
            self._try(try_number, last=try_number == TRIES)
            if self.result is not None:
                return

    def identity(self, try_number: int) -> RunIdentity:
        return RunIdentity("dag", "run", "task", try_number=try_number)

    @property
    def plan(self) -> Plan:
        return read_plan(self.identity(1).plan_path(self.bucket))

    @property
    def ledger(self) -> Ledger:
        return read_ledger(self.bucket, "run")

    def _try(self, try_number: int, *, last: bool) -> None:
        fatal = None if last else self.rng.randint(1, 40)

        def meanwhile(kind: str) -> None:
            nonlocal fatal
            if fatal is not None:
                fatal -= 1
                if not fatal:
                    self.events[f"killed at {kind}"] += 1
                    self.service.is_caller_dead = True
                    raise Killed
            if self.people and self.service.listed and self.rng.random() < 0.1:
                self.people -= 1
                raw = self.rng.choice(self.service.listed)
                self.service.edit(raw["sample_id"], [{"name": "corrected", "type": 0}])

        self.service.before_request = meanwhile
        place = LedgerTarget(self.bucket, self.identity(try_number))
        try:
            with patch.object(recording, "LedgerWriter", partial(LedgerWriter, window=3)):
                self.result = confirm_in(
                    self.service,
                    policy=self.policy,
                    ledger=place,
                    batch_size=self.rng.choice([1, 3, 100]),
                    concurrency=self.rng.choice([1, 2, 8]),
                )
        except Killed:
            pass
        self.service.is_caller_dead = False
        self.service.before_request = lambda kind: None
        if place.identity.plan_path(self.bucket).exists():
            self._note_plan()

    def _note_plan(self) -> None:
        path = self.identity(1).plan_path(self.bucket)
        if self.service.referee.written or self.result is not None:
            self.digests.add(read_plan(path).digest)
        elif self.is_partial(path):
            del self.bucket.objects[str(path)]

    @staticmethod
    def is_partial(path: Bucket) -> bool:
        """Whether the kill struck while the plan was stored: nobody acts on such a plan."""
        return b"sha256" not in path.content.rsplit(b"\n", 2)[-2] if path.content else True


def judge(story: Retried) -> None:
    """Raise Violation unless plan, ledger, counts and labels say the same."""
    service, result = story.service, story.result
    if result is None or result.unaccounted:
        raise Violation(f"it did not end: {result}")
    if len(story.digests) > 1:
        raise Violation("a retry applied another plan")
    plan, ledger = story.plan, story.ledger
    problems = [problem for problem in ledger.verify() if "is not the last part" not in problem]
    if problems:
        raise Violation(f"the ledger is broken: {problems}")
    state = replay(plan, ledger)
    if left := [planned.sample.sample_id for planned in state.unsettled()]:
        raise Violation(f"the ledger does not say what became of {left}")
    for planned in plan.samples():
        if planned.sample.sample_id not in service.referee.human:
            _judge_sample(story, planned, state.fate(planned.sample.sample_id))
    if not service.referee.human and result.confirmed != plan.counts["confirm"]:
        raise Violation(f"{plan.counts} planned, reported {result}")
    for sample_id in service.referee.human.keys() - service.referee.raced:
        if service.final[sample_id] != service.referee.human[sample_id]:
            raise Violation(f"{sample_id}: a person's labels are lost")


def _judge_sample(story: Retried, planned: PlannedSample, fate: str | None) -> None:
    sample_id = planned.sample.sample_id
    final = story.service.final.get(sample_id)
    is_final = final == stored(planned.sample.raw["labels"])
    if is_final is not (planned.decision.action == "confirm") or (final is not None and not is_final):
        raise Violation(f"{sample_id}: planned {planned.decision}, but its labels are {final}")
    if is_final is not (fate == "confirmed"):
        raise Violation(f"{sample_id}: the ledger says {fate}")


def with_kills(seeds: int = 80, people: int = 0) -> Counter[str]:
    """Kill, and try again, with nobody else there."""
    events: Counter[str] = Counter()
    for seed in range(seeds):
        story = Retried(random.Random(seed), people=people)
        story.run()
        judge(story)
        events.update(story.events)
    return events


def with_kills_among_people(seeds: int = 60) -> None:
    with_kills(seeds, people=3)


def with_another_try_that_plans() -> None:
    """A try stores its plan while another one, which found none, still reads: one plan counts for both."""
    initial = [draw_sample(random.Random(0), number) for number in range(12)]
    service = ModelService(initial)
    client: Any = ModelClient(service)
    bucket = Bucket()
    path = RunIdentity("dag", "run", "task").plan_path(bucket)
    theirs: list[Plan] = []

    def meanwhile(kind: str) -> None:
        service.before_request = lambda kind: None
        service.clock.sleep(1.0)  # plans tell when they were made
        theirs.append(make_plan(client, DATASET, path, clock=service.clock).plan)  # type: ignore[arg-type]

    service.before_request = meanwhile
    confirm_in(service, ledger=LedgerTarget(bucket, RunIdentity("dag", "run", "task", try_number=2)))
    named = {chain.first().plan_digest for chain in read_ledger(bucket, "run").chains}
    if not named == {theirs[0].digest} == {read_plan(path).digest}:
        raise Violation("two tries apply two plans")
