"""A whole confirmation against the model, with people, faults and time interleaved, and the verdict on it (B13-B17)."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling import sample_table as books
from airflow_provider_modelarts.labeling.apply import confirmation as apply
from airflow_provider_modelarts.labeling.policy import confirm_all, parse_policy
from airflow_provider_modelarts.labeling.proposals import page_order as walk
from airflow_provider_modelarts.labeling.stop_signal import StopSignal
from tests.labeling.model import DATASET, ModelClient, ModelService, Violation, raw_label, raw_sample, stored
from tests.labeling.turns import TurnCrew

if TYPE_CHECKING:
    import pytest

    from airflow_provider_modelarts.labeling.results import ConfirmationResult
    from tests.labeling.model import Raw

PAGE = 4
WRITE_FAULTS = ("lost before", "lost after", "throttled", "no connection", "bad json", "too large")
CODES = ("ModelArts.4420", "ModelArts.4423", "ModelArts.4424")
POLICIES: tuple[Any, ...] = (
    None,
    {"min_score": 0.5},
    {"min_score": 0.5, "max_samples": 1000},
    {"labels": ["rose", "tulip"], "hard_examples": "confirm", "audit_share": 0.2, "min_samples": 0},
)


@dataclass
class Story:
    """What happened, for counting and for the verdict."""

    service: ModelService
    policy: Any
    initial: list[Raw]
    result: ConfirmationResult | None = None
    error: ModelArtsError | None = None
    events: Counter[str] = field(default_factory=Counter)
    newcomers: set[str] = field(default_factory=set)
    peace: bool = True


def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page be small, so that few samples make many pages, and name every failed sample."""
    monkeypatch.setattr(walk, "PAGE_SIZE", PAGE)
    monkeypatch.setattr(books, "SAMPLES_SHOWN", 1000)


def draw_sample(rng: random.Random, number: int) -> Raw:
    names = rng.sample(["rose", "tulip", "weed"], k=rng.choice([1, 1, 1, 2]))
    labels = [
        raw_label(name, id=str(place), score=rng.choice([0.3, 0.5, 0.9, 1, 1.0]))
        for place, name in enumerate(names, start=1)
    ]
    metadata = {"@modelarts:hard": rng.random() < 0.2, "@modelarts:size": [8, 8, 3], "test": "1"}
    return raw_sample(number, labels, metadata=metadata)


def simulate(
    rng: random.Random,
    *,
    people: int = 4,
    faults: int = 4,
    bad: float = 0.05,
    latency: float = 3.0,
    samples: int = 30,
    policy: Any = ...,
    batch_size: int | None = None,
    concurrency: int | None = None,
) -> Story:
    """Run one confirmation; everything that happens to it comes from ``rng``.

    :param people: changes by others, at most
    :param faults: faults of requests, at most
    :param bad: share of samples that the service refuses to write
    :param latency: seconds that a request takes at most
    """
    rng = random.Random(rng.getrandbits(64))  # other threads may not draw from hypothesis
    initial = [draw_sample(rng, number) for number in range(rng.randint(0, samples))]
    service = ModelService(initial, rng, by_record=rng.random() < 0.5, latency=latency)
    service.results = rng.choice(["positional", "missing", "short", "shuffled"])
    service.bad = {raw["sample_id"]: rng.choice(CODES) for raw in initial if rng.random() < bad}
    story = Story(service, rng.choice(POLICIES) if policy is ... else policy, initial)
    budget = {"people": people, "faults": faults, "number": len(initial)}

    def meanwhile(kind: str) -> None:
        if budget["people"] and rng.random() < 0.15:
            budget["people"] -= 1
            _let_somebody_act(rng, story, budget)
        if budget["faults"] and rng.random() < 0.3:
            budget["faults"] -= 1
            _let_something_fail(rng, story, kind)

    service.before_request = meanwhile
    try:
        run = confirmation_in(
            service,
            policy=story.policy,
            batch_size=batch_size or rng.choice([1, 3, 100]),
            concurrency=concurrency or rng.choice([1, 2, 3, 8]),
        )
        with small_crew(service):
            run.run()
    except ModelArtsError as error:
        story.error = error
    story.result = run.result()
    story.events.update(service.fired)
    return story


def _let_somebody_act(rng: random.Random, story: Story, budget: dict[str, int]) -> None:
    service = story.service
    story.peace = False
    act = rng.choice(["correct", "clear", "propose first", "propose last", "repropose"])
    known = [raw["sample_id"] for raw in service.listed] + list(service.final)
    if act.startswith("propose"):
        budget["number"] += 1
        raw = draw_sample(rng, budget["number"])
        story.newcomers.add(raw["sample_id"])
        service.propose(raw, at_end=act == "propose last")
    elif not known:
        return
    elif act == "repropose":
        if not service.listed:
            return
        raw = rng.choice(service.listed)
        story.newcomers.add(raw["sample_id"])
        raw["labels"] = draw_sample(rng, 0)["labels"]
    else:
        service.edit(rng.choice(known), [raw_label("corrected")] if act == "correct" else [])
    story.events[act] += 1


def _let_something_fail(rng: random.Random, story: Story, kind: str) -> None:
    service = story.service
    if kind == "update":
        service.write_faults.append(rng.choice(WRITE_FAULTS))
    elif kind in ("proposal", "final") and rng.random() < 0.5:
        service.read_faults.append("read fault")
    elif rng.random() < 0.3:
        service.slow_tokens.append(rng.choice([20, 40]))
    elif rng.random() < 0.3:
        service.busy_until = service.clock.now() + rng.choice([5, 30, 120])


def judge(story: Story) -> None:
    """Raise Violation unless every sample is as it must be (B15 to B17); the referee judged each write already."""
    service, result = story.service, story.result
    assert result is not None
    if story.error is not None:
        raise Violation(f"the run ended early: {story.error!r}")
    policy = parse_policy(story.policy)
    walks = 2 if policy and policy.has_guards else 1
    if story.peace and (result.unaccounted or result.passes != walks):
        raise Violation(f"nobody disturbed it, and yet: {result}, {result.unaccounted} unaccounted for")
    decide = policy.decide if policy else confirm_all
    listed = {raw["sample_id"]: raw for raw in service.listed}
    failed = {sample_id: failure.code for failure in result.failures.values() for sample_id in failure.samples}
    for raw in story.initial:
        _judge_sample(story, raw, listed.get(raw["sample_id"]), decide(_sample(raw)).action, failed)
    _judge_counts(story, result)


def _judge_sample(story: Story, raw: Raw, listed: Raw | None, action: str, failed: dict[str, str]) -> None:
    service, sample_id = story.service, raw["sample_id"]
    referee = service.referee
    final = service.final.get(sample_id)
    if sample_id in referee.human:
        if final != referee.human[sample_id] and sample_id not in referee.raced:
            raise Violation(f"{sample_id}: a person's labels are lost")
        return
    if sample_id in story.newcomers:
        return
    untouched, confirmed = (listed == raw and final is None), (listed is None and final == stored(raw["labels"]))
    if not untouched and not confirmed:
        raise Violation(f"{sample_id}: neither as it was nor as it was decided: {final}")
    if confirmed and (action != "confirm" or failed.get(sample_id, "unknown") != "unknown"):
        raise Violation(f"{sample_id}: decided {action}, reported as {failed.get(sample_id)}, but it was confirmed")
    # A proposal added below the reader and one taken away above it, between two reads, leave the count as it was: B14
    # ends the run then, and the next one confirms what this one did not see.
    unseen = story.events["propose first"] and story.events["clear"] + story.events["correct"]
    excused = sample_id in failed or unseen or (story.result and story.result.unaccounted)
    if untouched and action == "confirm" and not excused:
        raise Violation(f"{sample_id}: was to be confirmed, is not, and nothing says so")


def _judge_counts(story: Story, result: ConfirmationResult) -> None:
    """Without other people the numbers must be exact."""
    if not story.peace:
        return
    written = story.service.referee.written
    if result.confirmed != len(written) or result.seen != len(story.initial) or result.gone:
        raise Violation(f"{result}, but {len(written)} of {len(story.initial)} were written")
    names = Counter(name for labels in written.values() for name in {label["name"] for label in labels})
    if result.by_label != dict(names):
        raise Violation(f"counted {result.by_label}, written {dict(names)}")
    if result.failed != sum(failure.count for failure in result.failures.values()):
        raise Violation("failures do not add up")


def _sample(raw: Raw) -> Any:
    from airflow_provider_modelarts.client.resources.samples import Sample

    return Sample(raw)


def in_storms(seeds: int = 150) -> None:
    """People, faults and time at their worst."""
    for seed in range(seeds):
        judge(simulate(random.Random(seed)))


def in_calm(seeds: int = 30) -> None:
    """Nobody else is there and nothing fails: every number must be exact, and one walk must do."""
    for seed in range(seeds):
        judge(simulate(random.Random(seed), people=0, faults=0, bad=0, latency=0))


def with_newcomers_after_the_guard() -> None:
    """What a guard did not judge is not written."""
    proposals = [raw_sample(number, [raw_label()]) for number in range(1, 10)]
    service = ModelService(proposals)

    def meanwhile(kind: str) -> None:
        if kind == "update" and not service.final:
            service.propose(raw_sample(99, [raw_label("late")]), at_end=False)
            service.listed[1]["labels"] = [raw_label("new label")]

    service.before_request = meanwhile
    result = confirm_in(service, policy={"max_samples": 9}, batch_size=1)
    if (result.confirmed, result.left, result.changed_since_plan) != (8, 2, 2):
        raise Violation(f"written without the guard's judgement: {result}")


def with_a_trimming_filter() -> None:
    """The list shows only the labels that match the filter; a sample keeps the others nevertheless."""
    proposals = [raw_sample(number, [raw_label("rose"), raw_label("tulip", id="2")]) for number in range(1, 10)]
    service = ModelService(proposals, trims=True)
    result = confirm_in(service, label_name="tulip")
    if result.confirmed != 9 or any(len(labels) != 2 for labels in service.final.values()):
        raise Violation(f"labels lost: {result}, {service.final}")


def small_crew(service: ModelService) -> Any:
    """Let threads take turns."""
    return patch.object(apply, "WorkerPool", lambda size: TurnCrew(size, service, service.rng))


def confirmation_in(service: ModelService, *, should_stop: Any = None, **parameters: Any) -> apply.Confirmation:
    """Return a confirmation in the model; run it with :func:`small_crew`."""
    client: Any = ModelClient(service)
    clock: Any = service.clock
    request = apply.ConfirmationRequest.checked(DATASET, **parameters)
    return apply.Confirmation(client, request, stop=StopSignal(should_stop), clock=clock)


def confirm_in(service: ModelService, **parameters: Any) -> ConfirmationResult:
    """Confirm in the model."""
    with small_crew(service):
        return confirmation_in(service, **parameters).run()
