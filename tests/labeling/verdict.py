"""What must hold after a life, at the end of a history, and after an undo (B13 to B17)."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.emulator.api.samples import varied
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger, replay
from airflow_provider_modelarts.labeling.policy import parse_policy
from airflow_provider_modelarts.labeling.results import CATEGORIES, ConfirmationResult
from tests.labeling.raw_samples import without_id
from tests.labeling.referee import Killed, Violation

if TYPE_CHECKING:
    from tests.labeling.history import History
    from tests.labeling.lives import Life
    from tests.labeling.raw_samples import Raw

_OPEN = "is not the last part"


def judge_life(life: Life) -> None:
    """A life ends with a result, with an error of ours, or by a kill; whatever it says adds up."""
    error = life.error
    if error is not None and not isinstance(error, (ModelArtsError, Killed, OSError)):
        raise error
    life.history.note(f"ended: {type(error).__name__ if error else 'well'}")
    result = life.counts() if isinstance(error, Exception) else life.result
    if isinstance(result, ConfirmationResult):
        counts = result.to_xcom()
        if sum(counts[name] for name in CATEGORIES) != counts["seen"]:
            raise Violation(f"the sums do not hold: {counts}")
        if result.failed != sum(failure.count for failure in result.failures.values()):
            raise Violation(f"failures do not add up: {result} {result.failures}")


def judge_try(history: History, result: ConfirmationResult, before: int) -> None:
    """A try that ended well, disturbed or not, has left nothing to do that it does not own up to.

    :param before: the event before which it began
    """
    # One proposal that appears below the reader and one that is taken away, between two reads, leave the count as it
    # was: nobody can know; the next try confirms what this one did not see.
    takes_away = history.acts & {"correct", "clear", "confirm by hand", "propose again", "propose otherwise"}
    hidden = "propose first" in history.acts and takes_away
    if result.unaccounted or hidden or history.setup.variants.get("shrink_list"):
        return
    if history.setup.has_plan:
        history.load_plan()
    named = {sample_id for failure in result.failures.values() for sample_id in failure.samples}
    for sample_id, listed in history.dataset.proposals.items():
        is_old = history.referee.touched.get(sample_id, 0) <= before
        if is_old and sample_id not in named and _is_wanted(history, sample_id, listed):
            raise Violation(f"{sample_id}: was to be confirmed, is not, and {result} does not say so")
    history.note("tries judged")


def judge_end(history: History, result: ConfirmationResult) -> None:
    """After a try that nothing disturbed every sample is as B17 says, and the ledger knows all of it."""
    if result.unaccounted or result.stopped:
        raise Violation(f"nobody disturbed it, and yet: {result}, {result.unaccounted} unaccounted for")
    policy = parse_policy(history.setup.policy)
    walks = 2 if policy and policy.has_guards and not history.setup.has_plan else 1
    if result.passes != walks:
        raise Violation(f"nobody disturbed it, and it took {result.passes} walks")
    if history.setup.has_plan:
        history.load_plan()
    listed = history.dataset.proposals
    for sample_id in history.dataset.samples:
        _judge_sample(history, sample_id, listed.get(sample_id))
    refused = sum(_is_wanted(history, sample_id, listed[sample_id]) for sample_id in history.bad & listed.keys())
    if result.failed != refused:
        raise Violation(f"{refused} samples are refused by the service, reported: {result}")
    if history.setup.has_ledger:
        _judge_ledger(history, result)


def _judge_sample(history: History, sample_id: str, listed: Raw | None) -> None:
    referee = history.referee
    final = [dict(label) for label in history.dataset.samples[sample_id].labels]
    if sample_id in referee.human:
        if final != referee.human[sample_id]:
            raise Violation(f"{sample_id}: a person gave it {referee.human[sample_id]}, it has {final}")
    elif sample_id in referee.ours:
        if final != referee.ours[sample_id]:
            raise Violation(f"{sample_id}: {referee.ours[sample_id]} was written, it has {final}")
    elif sample_id not in referee.raced and final != history.begun[sample_id]:
        raise Violation(f"{sample_id}: nobody touched it, and its labels changed to {final}")
    if listed is not None and sample_id not in history.bad and _is_wanted(history, sample_id, listed):
        raise Violation(f"{sample_id}: was to be confirmed, is not, and nothing says so")
    if listed is None and not {sample_id} & (referee.human.keys() | referee.ours.keys() | referee.raced):
        raise Violation(f"{sample_id} is no proposal any more, and nobody confirmed it")


def _is_wanted(history: History, sample_id: str, listed: Raw) -> bool:
    """Whether a proposal, as it is listed now, is to be confirmed."""
    setup = history.setup
    served = varied(history.emulator.variants, deepcopy(listed))
    if not setup.has_plan:
        is_chosen = setup.label_name is None or any(one["name"] == setup.label_name for one in served["labels"])
        return is_chosen and history.decide(Sample(served)).action == "confirm"
    action, raw = history.planned.get(sample_id, ("", {}))
    return action == "confirm" and without_id(served["labels"]) == without_id(raw["labels"])


def _judge_ledger(history: History, result: ConfirmationResult) -> None:
    plan, ledger = history.plan, read_ledger(history.place(), "run")
    assert plan is not None
    if problems := [problem for problem in ledger.verify() if _OPEN not in problem]:
        raise Violation(f"the ledger is broken: {problems}")
    *_, (header, last) = ((chain.first(), chain) for chain in ledger.chains)
    if header.try_number != history.tries or last.verify():
        raise Violation(f"the last try left no whole chain: {last.verify()}")
    if len({chain.first().plan_digest for chain in ledger.chains}) != 1:
        raise Violation("the tries name different plans")
    state = replay(plan, ledger)
    unknown = [one.sample.sample_id for one in state.unsettled() if one.sample.sample_id not in history.bad]
    if unknown:
        raise Violation(f"the ledger does not say what became of {unknown}")
    ours = history.referee.ours.keys() - history.referee.touched.keys() - history.referee.raced
    # A try that did not end may have written what a person may as well have accepted since: then nothing tells.
    may_doubt = history.had_unended_try and history.referee.touched
    history.doubted = {sample_id for sample_id in ours if may_doubt and state.fate(sample_id) == "unknown"}
    if history.doubted:
        history.note("written, and the ledger says unknown")
    for sample_id in sorted(ours - history.doubted):
        if state.fate(sample_id) != "confirmed":
            raise Violation(f"{sample_id} was written; the ledger says: {state.fate(sample_id)}")
    if result.confirmed < len(ours - history.doubted):
        raise Violation(f"{len(ours)} were written, reported: {result}")


def judge_undo(history: History, result: Any) -> None:
    """After an undo that nothing disturbed everything that nobody touched is as it was before the run."""
    referee, doubted = history.referee, 0
    if result.failed - len(history.bad) > 0 or result.stopped:
        raise Violation(f"nobody disturbed the undo, and yet: {result}")
    for sample_id, sample in history.dataset.samples.items():
        final = [dict(label) for label in sample.labels]
        if sample_id in referee.human:
            if final != referee.human[sample_id]:
                raise Violation(f"{sample_id}: a person gave it {referee.human[sample_id]}, undo made it {final}")
        elif sample_id in referee.raced or sample_id in history.bad:
            continue
        elif sample_id in history.doubted and final == referee.ours.get(sample_id):
            doubted += 1
        elif sample_id in referee.touched and final == referee.ours.get(sample_id):
            # Written by a try that was killed, proposed once more, written again: a person may have given these labels.
            history.note("not undone: perhaps a person's")
        elif final != (before := referee.prior.get(sample_id, history.begun[sample_id])):
            raise Violation(f"{sample_id}: has {final} after the undo, had {before} before the run")
    if doubted > result.unknown:
        raise Violation(f"{doubted} samples keep what the run wrote, and the undo lists only {result.unknown}")
