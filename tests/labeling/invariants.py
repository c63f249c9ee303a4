"""What must never happen to a label: watched at every request, after each process, and at the end (B13 to B17)."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.emulator.api.samples import varied
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger, replay
from airflow_provider_modelarts.labeling.policy import parse_policy
from airflow_provider_modelarts.labeling.results import CATEGORIES, ConfirmationResult
from tests.labeling.raw_samples import without_id

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from tests.labeling.raw_samples import Raw
    from tests.labeling.simulated_process import SimulatedProcess
    from tests.labeling.simulation import Simulation


FILTERS = {"label_name", "label_type", "low_score", "high_score", "search_conditions"}
OLDEST_READ = 30.0
"""Seconds that a read allows a write for."""


class Violation(AssertionError):  # noqa: N818 - a violation of an invariant
    """Something that must never happen to a label has happened."""


class Killed(BaseException):
    """The process that confirms has been killed: nothing of it asks or stores anything any more."""


class WriteWatcher:
    """Watches one dataset of one simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._known: dict[str, list[Raw]] = {}
        self.touched: dict[str, int] = {}
        """By whom a person or a new labeling task last did something to: the number of that event."""
        self.human: dict[str, list[Raw]] = {}
        """Final labels that people gave and nobody may touch."""
        self.raced: set[str] = set()
        """Written by us although somebody acted between the read and the write: no client can know that."""
        self.prior: dict[str, list[Raw]] = {}
        """Final labels before our first write, or those of a person that a later one replaced."""
        self.ours: dict[str, list[Raw]] = {}
        """Final labels that we wrote last."""
        self._last_write: dict[str, list[Raw]] = {}
        """What a write of ours left, in a race or not, until a person gave other labels."""

    # What people do

    def look(self, *, by_people: bool = True) -> dict[str, list[Raw]]:
        """Take over the final labels as they are, and return what those were that have been set since the last look."""
        changed = {}
        for sample_id, sample in self._simulation.dataset.samples.items():
            if self._known.get(sample_id) is not sample.labels:
                changed[sample_id] = self._known.get(sample_id, [])
                self._known[sample_id] = sample.labels
                if by_people:
                    self.touch(sample_id, sample.labels)
        return changed

    def begin(self) -> None:
        """Take what is there for given."""
        self.look(by_people=False)

    def touch(self, sample_id: str, labels: list[Raw] | None = None) -> None:
        """Note that a person labeled a sample, or (without labels) that it was proposed once more."""
        self._simulation.events += 1
        self.touched[sample_id] = self._simulation.events
        if labels is not None:
            self.human[sample_id] = [dict(label) for label in labels]
            self.raced.discard(sample_id)
            self._last_write.pop(sample_id, None)

    # What is read

    def check_read(
        self,
        process: SimulatedProcess,
        kind: str,
        request: requests.PreparedRequest,
        response: requests.Response,
        at: tuple[float, int],
    ) -> None:
        """Note what a read showed to a process."""
        if kind == "page" and response.status_code == 200:
            filters = parse_qs(urlsplit(request.url or "").query).keys() & FILTERS
            if filters and self._simulation.emulator.variants.trim_labels_to_filter:
                return
            for raw in json.loads(response.content)["samples"]:
                if raw["sample_id"] not in process.sent:
                    process.shown.setdefault(raw["sample_id"], []).append((*at, raw))
        elif kind in ("proposal", "final"):
            sample_id = (request.path_url.partition("?")[0]).rpartition("/")[2]
            if kind == self._simulation.shown_by(process):
                process.shown.pop(sample_id, None)
                if response.status_code == 200:
                    process.shown[sample_id] = [(*at, json.loads(response.content))]

    # What is written

    def check_sent(self, process: SimulatedProcess, kind: str, request: requests.PreparedRequest, at: float) -> None:
        """Judge a write by what reads of the last half minute have shown to the process that sends it.

        It is judged when it is sent: how long it is on its way, or its sender frozen, nobody can know. What the client
        sends again with a new token is judged again.
        """
        if kind != "write":
            return
        # A thread of the real pool may stand still between the client's last look and here.
        is_prompt = not self._simulation.setup.threads
        if is_prompt and process.is_stopped:
            raise Violation("a write goes out although the run was asked to stop")
        for form in _forms(request):
            sample_id = form.get("sample_id")
            if sample_id not in process.shown:
                raise Violation(f"{sample_id} is sent although no read allows it")
            reads = process.shown[sample_id]
            fresh = [read for read in reads if at - read[0] <= OLDEST_READ] if is_prompt else reads
            if not fresh:
                raise Violation(f"{sample_id} is sent on a read {at - reads[-1][0]:.0f} s old")
            # Another thread may have read it again since: the write may rest on any of these.
            event, raw = next(((one[1], one[2]) for one in fresh if _has_labels(one[2], form)), fresh[-1][1:])
            process.allowed[sample_id] = event
            self._simulation.check_form(process, form, raw)

    def watch(
        self,
        process: SimulatedProcess,
        kind: str,
        request: requests.PreparedRequest,
        have_answered: Callable[[], requests.Response],
    ) -> requests.Response:
        """Have a request carried out, and see what it did."""
        self.look()
        refused = False
        try:
            response = have_answered()
            refused = 400 <= response.status_code < 500
        finally:
            changed = self.look(by_people=kind != "write")
            if kind == "write":
                self._written(process, request, changed)
                if not refused:
                    self._use_up(process, request)
        if kind == "write":
            unchanged = {form["sample_id"] for form in _forms(request)} - changed.keys()
            self._simulation.note_answer(response, unchanged)
        return response

    @staticmethod
    def _use_up(process: SimulatedProcess, request: requests.PreparedRequest) -> None:
        """What may have been written may go out once more only after a single read of it."""
        for form in _forms(request):
            process.sent.add(form["sample_id"])
            process.shown.pop(form["sample_id"], None)

    def _written(
        self, process: SimulatedProcess, request: requests.PreparedRequest, changed: dict[str, list[Raw]]
    ) -> None:
        samples = self._simulation.dataset.samples
        for form in _forms(request):
            sample_id = form["sample_id"]
            if sample_id not in changed:
                continue
            now = [dict(label) for label in samples[sample_id].labels]
            if not _same(now, self._simulation.as_stored(form["labels"])):
                raise Violation(f"{sample_id}: the service stored {now} for {form['labels']}")
            is_raced = self.touched.get(sample_id, -1) > process.allowed[sample_id]
            by_person = self.human.pop(sample_id, None)
            if is_raced:
                self.raced.add(sample_id)
                if sample_id in self.ours:  # or an earlier write would be taken for the last one
                    self.ours[sample_id] = now
                self._simulation.note("written in a race")
            elif process.undoes:
                self.ours.pop(sample_id, None)
            else:
                if changed[sample_id] != self._last_write.get(sample_id):
                    self._simulation.check_before(sample_id, changed[sample_id])
                if by_person or sample_id not in self.prior:
                    self.prior[sample_id] = changed[sample_id]
                self.ours[sample_id] = now
            self._last_write[sample_id] = now


def _forms(request: requests.PreparedRequest) -> list[Raw]:
    body: Any = json.loads(request.body or b"{}")
    forms: list[Raw] = body["samples"]
    return forms


def _has_labels(raw: Raw, form: Raw) -> bool:
    return json.dumps(without_id(raw["labels"])) == json.dumps(without_id(form.get("labels") or []))


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def check_labels(form: Raw, shown: Raw, *, needs_size: bool) -> None:
    """Raise unless what is sent is what was shown (B13): every key, every number as it was written."""
    sample_id, labels = form["sample_id"], form.get("labels")
    if not labels:
        raise Violation(f"{sample_id} is sent without labels")
    if json.dumps(without_id(shown["labels"])) != json.dumps(without_id(labels)):
        raise Violation(f"{sample_id} is sent with labels that no read showed: {labels}, not {shown['labels']}")
    metadata = form.get("metadata") or {}
    if set(metadata) - {"@modelarts:size"} or (needs_size and "@modelarts:size" not in metadata):
        raise Violation(f"{sample_id} is sent with metadata {metadata}")


_OPEN = "is not the last part"


def judge_process(process: SimulatedProcess) -> None:
    """A process ends with a result, with an error of ours, or by a kill; whatever it says adds up."""
    error = process.error
    if error is not None and not isinstance(error, (ModelArtsError, Killed, OSError)):
        raise error
    process.simulation.note(f"ended: {type(error).__name__ if error else 'well'}")
    result = process.counts() if isinstance(error, Exception) else process.result
    if isinstance(result, ConfirmationResult):
        counts = result.to_xcom()
        if sum(counts[name] for name in CATEGORIES) != counts["seen"]:
            raise Violation(f"the sums do not hold: {counts}")
        if result.failed != sum(failure.count for failure in result.failures.values()):
            raise Violation(f"failures do not add up: {result} {result.failures}")


def judge_try(simulation: Simulation, result: ConfirmationResult, before: int) -> None:
    """A try that ended well, disturbed or not, has left nothing to do that it does not own up to.

    :param before: the event before which it began
    """
    # One proposal that appears below the reader and one that is taken away, between two reads, leave the count as it
    # was: nobody can know; the next try confirms what this one did not see.
    takes_away = simulation.acts & {"correct", "clear", "confirm by hand", "propose again", "propose otherwise"}
    hidden = "propose first" in simulation.acts and takes_away
    if result.unaccounted or hidden or simulation.setup.variants.get("shrink_list"):
        return
    if simulation.setup.has_plan:
        simulation.load_plan()
    named = {sample_id for failure in result.failures.values() for sample_id in failure.samples}
    for sample_id, listed in simulation.dataset.proposals.items():
        is_old = simulation.watcher.touched.get(sample_id, 0) <= before
        if is_old and sample_id not in named and _is_wanted(simulation, sample_id, listed):
            raise Violation(f"{sample_id}: was to be confirmed, is not, and {result} does not say so")
    simulation.note("tries judged")


def judge_end(simulation: Simulation, result: ConfirmationResult) -> None:
    """After a try that nothing disturbed every sample is as B17 says, and the ledger knows all of it."""
    if result.unaccounted or result.stopped:
        raise Violation(f"nobody disturbed it, and yet: {result}, {result.unaccounted} unaccounted for")
    policy = parse_policy(simulation.setup.policy)
    walks = 2 if policy and policy.has_guards and not simulation.setup.has_plan else 1
    if result.passes != walks:
        raise Violation(f"nobody disturbed it, and it took {result.passes} walks")
    if simulation.setup.has_plan:
        simulation.load_plan()
    listed = simulation.dataset.proposals
    for sample_id in simulation.dataset.samples:
        _judge_sample(simulation, sample_id, listed.get(sample_id))
    refused = sum(_is_wanted(simulation, sample_id, listed[sample_id]) for sample_id in simulation.bad & listed.keys())
    if result.failed != refused:
        raise Violation(f"{refused} samples are refused by the service, reported: {result}")
    if simulation.setup.has_ledger:
        _judge_ledger(simulation, result)


def _judge_sample(simulation: Simulation, sample_id: str, listed: Raw | None) -> None:
    watcher = simulation.watcher
    final = [dict(label) for label in simulation.dataset.samples[sample_id].labels]
    if sample_id in watcher.human:
        if final != watcher.human[sample_id]:
            raise Violation(f"{sample_id}: a person gave it {watcher.human[sample_id]}, it has {final}")
    elif sample_id in watcher.ours:
        if final != watcher.ours[sample_id]:
            raise Violation(f"{sample_id}: {watcher.ours[sample_id]} was written, it has {final}")
    elif sample_id not in watcher.raced and final != simulation.begun[sample_id]:
        raise Violation(f"{sample_id}: nobody touched it, and its labels changed to {final}")
    if listed is not None and sample_id not in simulation.bad and _is_wanted(simulation, sample_id, listed):
        raise Violation(f"{sample_id}: was to be confirmed, is not, and nothing says so")
    if listed is None and not {sample_id} & (watcher.human.keys() | watcher.ours.keys() | watcher.raced):
        raise Violation(f"{sample_id} is no proposal any more, and nobody confirmed it")


def _is_wanted(simulation: Simulation, sample_id: str, listed: Raw) -> bool:
    """Whether a proposal, as it is listed now, is to be confirmed."""
    setup = simulation.setup
    served = varied(simulation.emulator.variants, deepcopy(listed))
    if not setup.has_plan:
        is_chosen = setup.label_name is None or any(one["name"] == setup.label_name for one in served["labels"])
        return is_chosen and simulation.decide(Sample(served)).action == "confirm"
    action, raw = simulation.planned.get(sample_id, ("", {}))
    return action == "confirm" and without_id(served["labels"]) == without_id(raw["labels"])


def _judge_ledger(simulation: Simulation, result: ConfirmationResult) -> None:
    plan, ledger = simulation.plan, read_ledger(simulation.place(), "run")
    assert plan is not None
    if problems := [problem for problem in ledger.verify() if _OPEN not in problem]:
        raise Violation(f"the ledger is broken: {problems}")
    *_, (header, last) = ((chain.first(), chain) for chain in ledger.chains)
    if header.try_number != simulation.tries or last.verify():
        raise Violation(f"the last try left no whole chain: {last.verify()}")
    if len({chain.first().plan_digest for chain in ledger.chains}) != 1:
        raise Violation("the tries name different plans")
    state = replay(plan, ledger)
    unknown = [one.sample.sample_id for one in state.unsettled() if one.sample.sample_id not in simulation.bad]
    if unknown:
        raise Violation(f"the ledger does not say what became of {unknown}")
    ours = simulation.watcher.ours.keys() - simulation.watcher.touched.keys() - simulation.watcher.raced
    # A try that did not end may have written what a person may as well have accepted since: then nothing tells.
    may_doubt = simulation.had_unended_try and simulation.watcher.touched
    simulation.doubted = {sample_id for sample_id in ours if may_doubt and state.fate(sample_id) == "unknown"}
    if simulation.doubted:
        simulation.note("written, and the ledger says unknown")
    for sample_id in sorted(ours - simulation.doubted):
        if state.fate(sample_id) != "confirmed":
            raise Violation(f"{sample_id} was written; the ledger says: {state.fate(sample_id)}")
    if result.confirmed < len(ours - simulation.doubted):
        raise Violation(f"{len(ours)} were written, reported: {result}")


def judge_undo(simulation: Simulation, result: Any) -> None:
    """After an undo that nothing disturbed everything that nobody touched is as it was before the run."""
    watcher, doubted = simulation.watcher, 0
    if result.failed - len(simulation.bad) > 0 or result.stopped:
        raise Violation(f"nobody disturbed the undo, and yet: {result}")
    for sample_id, sample in simulation.dataset.samples.items():
        final = [dict(label) for label in sample.labels]
        if sample_id in watcher.human:
            if final != watcher.human[sample_id]:
                raise Violation(f"{sample_id}: a person gave it {watcher.human[sample_id]}, undo made it {final}")
        elif sample_id in watcher.raced or sample_id in simulation.bad:
            continue
        elif sample_id in simulation.doubted and final == watcher.ours.get(sample_id):
            doubted += 1
        elif sample_id in watcher.touched and final == watcher.ours.get(sample_id):
            # Written by a try that was killed, proposed once more, written again: a person may have given these labels.
            simulation.note("not undone: perhaps a person's")
        elif final != (before := watcher.prior.get(sample_id, simulation.begun[sample_id])):
            raise Violation(f"{sample_id}: has {final} after the undo, had {before} before the run")
    if doubted > result.unknown:
        raise Violation(f"{doubted} samples keep what the run wrote, and the undo lists only {result.unknown}")
