"""Any order of plans, tries, kills, zombies, people, new proposals, faults and undos, as hypothesis draws them.

Each rule lets something happen to one dataset in the emulator; whatever a process sends is judged when it is sent
what it leaves is judged when it ends, and
everything when the simulation ends (:mod:`.invariants`).
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import hypothesis
import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from airflow_provider_modelarts.client.auth import forget_tokens
from tests.labeling.faults import FAULTS
from tests.labeling.invariants import Violation, judge_end, judge_process, judge_try, judge_undo
from tests.labeling.simulation import NOWHERE, POLICIES, Event, Setup, Simulation, small_world

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.labeling.simulated_process import SimulatedProcess

ACTS = (
    *("correct", "clear", "confirm by hand", "accept what was refused", "label, and propose again"),
    *("propose first", "propose last", "propose again", "propose otherwise"),
)
MISHAPS = ("busy", "stop", "storage fails", "time passes")
COUNTS: Counter[str] = Counter()
"""How often everything happened, over all histories of this process."""
CALM_TRIES = 3
MUST_HAPPEN = (
    *(f"rule: {name}" for name in ("plan", "apply", "retry", "freeze", "thaw", "two at once", "people", "undo")),
    *(f"fault: {name}" for name in FAULTS),
    *(
        f"killed {when} {what}"
        for when in ("before", "after")
        for what in ("page", "proposal", "write", "final", "store")
    ),
    *ACTS,
    *("busy", "asked to stop", "storage failed", "time passed", "labeled before"),
    *("written in a race", "a person's labels replaced", "a token takes long", "a part of a plan replaced"),
    *("two plan at once", "frozen while it plans", "a plan that came second"),
    *("finished", "tries judged", "undone"),
    *("offset_mode=page", "offset_mode=record", "shrink_list=1", "trim_labels_to_filter=True", "anonymous=True"),
    *(f"results={form}" for form in ("normal", "missing", "short", "shuffled")),
    *("an empty plan", "a plan that confirms nothing", "a sample refused", "a request refused", "a write held up"),
)
"""Every rule, fault and phase; long runs see each of them often."""

moments = st.integers(0, 40)
# The second: about when a plan has been read and is stored.
fatal = st.one_of(st.none(), st.integers(1, 12), st.integers(8, 25), st.integers(1, 70))
happenings = st.one_of(st.sampled_from(ACTS), st.sampled_from(sorted(FAULTS)), st.sampled_from(MISHAPS))


def storm(seed: int) -> list[Event]:
    """Return many happenings: hypothesis likes few."""
    rng = random.Random(seed)
    everything = [*ACTS, "accept what was refused", *sorted(FAULTS) * 2, *MISHAPS]
    return [Event(rng.randint(0, 60), rng.choice(everything)) for _ in range(rng.randint(4, 16))]


newcomers = st.lists(
    st.builds(Event, moments, st.sampled_from(["propose first", "propose last"])), min_size=1, max_size=4
)
scripts = st.one_of(
    st.lists(st.builds(Event, moments, happenings), max_size=8), newcomers, st.builds(storm, st.integers(0, 1 << 16))
)
VARIANTS: dict[str, tuple[Any, ...]] = {
    "offset_mode": ("page", "record"),
    "results": ("normal", "missing", "short", "shuffled"),
    "results_on_success": (False, True),
    "hard": ("bool", "number", "text"),
    "score": ("number", "number", "text"),
    "extra_fields": (False, True),
    "null_fields": (False, True),
    "trim_labels_to_filter": (False, True),
    "shrink_list": (0, 0, 0, 1),
    "metadata": ("merge", "replace"),
    "unknown_status": (400, 404),
    "code_prefix": ("APIGW.", "APIG."),
}
SETUPS: dict[str, tuple[Any, ...]] = {
    "kind": ("classification", "multi_label", "detection"),
    "labeled": (0.0, 0.0, 0.3),
    "bad": (0.0, 0.1, 0.2),
    "keeps": ("both", "both", "ledger", "plan", "nothing"),
    "policy": POLICIES,
    "label_name": (None, None, None, "rose", NOWHERE),
    "batch_size": (1, 3, 100),
    "concurrency": (1, 1, 2, 3, 8),
    "anonymous": (False, True),
    "latency": (0.0, 1.0, 8.0),
}
setups = st.builds(
    Setup,
    **{name: st.sampled_from(values) for name, values in SETUPS.items()},
    samples=st.one_of(st.integers(0, 26), st.integers(8, 26)),
    variants=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in VARIANTS.items()}),
    seed=st.integers(0, 1 << 32),
)


class ConfirmationMachine(RuleBasedStateMachine):
    """The process of one dataset."""

    simulation: Simulation
    zombie: SimulatedProcess | None = None
    threads = False
    """Whether the real pool carries the requests."""

    @initialize(setup=setups)
    def begin(self, setup: Setup) -> None:
        COUNTS["histories"] += 1
        self.simulation = Simulation(replace(setup, threads=self.threads), COUNTS)
        for name, value in setup.variants.items():
            COUNTS[f"{name}={value}"] += 1
        for name in ("kind", "keeps", "anonymous", "concurrency", "batch_size"):
            COUNTS[f"{name}={getattr(setup, name)}"] += 1

    @contextmanager
    def disturbed_by(self, script: Iterable[Event]) -> Iterator[None]:
        """Let happen what a script says, beside what is done within."""
        simulation = self.simulation
        simulation.script = [Event(simulation.ticks + event.after, event.what) for event in script]
        yield
        simulation.script.clear()
        simulation.watcher.look()

    def run_process(self, process: SimulatedProcess, script: Iterable[Event] = ()) -> None:
        forget_tokens()  # as a new process does
        with self.disturbed_by(script):
            process.run()
        judge_process(process)

    @precondition(lambda self: self.simulation.setup.keeps in ("plan", "both") and self.simulation.plan is None)
    @rule(script=scripts, killed_at=fatal)
    def make_a_plan(self, script: list[Event], killed_at: int | None) -> None:
        COUNTS["rule: plan"] += 1
        self.run_process(self.simulation.planning(killed_at=killed_at), script)

    @precondition(lambda self: not self.simulation.is_undone and self.simulation.tries < 6)
    @rule(script=scripts, killed_at=fatal)
    def try_to_confirm(self, script: list[Event], killed_at: int | None) -> None:
        COUNTS["rule: retry" if self.simulation.tries else "rule: apply"] += 1
        simulation = self.simulation
        before = simulation.events
        simulation.acts.clear()
        self.run_process(process := simulation.applying(killed_at=killed_at), script)
        if process.error is None and not process.result.stopped and self.zombie is None:
            judge_try(simulation, process.result, before)

    @precondition(lambda self: not self.simulation.is_undone and self.zombie is None and self.simulation.tries < 6)
    @rule(script=scripts, frozen_at=st.integers(1, 40))
    def freeze_a_try(self, script: list[Event], frozen_at: int) -> None:
        """A try stands still, as its machine does; Airflow takes it for dead."""
        COUNTS["rule: freeze"] += 1
        process = self.simulation.applying(frozen_at=frozen_at)
        with self.disturbed_by(script):
            while not process.is_over and not process.is_frozen:
                process.go_on()
        if process.is_over:
            judge_process(process)
        else:
            self.zombie = process

    @precondition(lambda self: self.zombie is not None)
    @rule(script=scripts)
    def let_the_zombie_go_on(self, script: list[Event]) -> None:
        COUNTS["rule: thaw"] += 1
        self.thaw(script)

    def thaw(self, script: Iterable[Event] = ()) -> None:
        process, self.zombie = self.zombie, None
        assert process is not None
        with self.disturbed_by(script):
            while not process.is_over:
                process.go_on()
        judge_process(process)

    @precondition(lambda self: not self.simulation.is_undone and self.simulation.tries < 6)
    @rule(script=scripts, killed=st.tuples(fatal, fatal))
    def try_twice_at_once(self, script: list[Event], killed: tuple[int | None, int | None]) -> None:
        """Two tries take turns, request by request."""
        COUNTS["rule: two at once"] += 1
        simulation = self.simulation
        simulation.had_unended_try = True
        COUNTS["two plan at once"] += simulation.setup.has_plan and simulation.plan is None
        processes = [simulation.applying(killed_at=killed_at) for killed_at in killed]
        with self.disturbed_by(script):
            while alive := [process for process in processes if not process.is_over]:
                simulation.rng.choice(alive).go_on()
        for process in processes:
            judge_process(process)

    @rule(what=st.sampled_from(ACTS))
    def let_people_act(self, what: str) -> None:
        COUNTS["rule: people"] += 1
        self.simulation.let_happen(what)

    @precondition(lambda self: self.simulation.setup.has_ledger and self.simulation.tries and self.zombie is None)
    @rule(script=scripts, killed_at=fatal)
    def undo(self, script: list[Event], killed_at: int | None) -> None:
        COUNTS["rule: undo"] += 1
        # What a crash left unsettled is settled by a try, says the undo; so there is one.
        if not self.simulation.is_undone:
            self.finish()
        self.run_process(self.simulation.undoing(killed_at=killed_at), script)

    def finish(self) -> None:
        """Let a try have its way."""
        simulation = self.simulation
        simulation.calm = True
        self.disarm()
        for _ in range(CALM_TRIES):
            process = simulation.applying()
            self.run_process(process)
            if process.error is None and not process.result.unaccounted:
                judge_end(simulation, process.result)
                COUNTS["finished"] += 1
                break
            COUNTS["finished later"] += 1
        else:
            raise Violation(f"nothing disturbs it, and it does not end: {process.error or process.result}")
        simulation.calm = False

    def disarm(self) -> None:
        """Let nothing fail any more but the samples that the service refuses."""
        simulation = self.simulation
        for name, armed in simulation.rules:
            COUNTS[f"fault: {name}"] += armed.fired
            armed.times = armed.fired
        simulation.rules.clear()
        simulation.storage_faults = 0
        simulation.emulator.variants.shrink_list = 0
        simulation.dataset.status = 1

    def teardown(self) -> None:
        if not hasattr(self, "simulation"):
            return
        if self.zombie is not None:
            self.thaw()
        if not self.simulation.is_undone:
            self.finish()
        if self.simulation.setup.has_ledger:
            self.disarm()
            self.simulation.calm = True
            process = self.simulation.undoing()
            self.run_process(process)
            if process.error is not None:
                raise Violation(f"nothing disturbs the undo, and it fails: {process.error}")
            judge_undo(self.simulation, process.result)
            COUNTS["undone"] += 1


def run_machine(histories: int, *, seed: int, steps: int = 6, shrinks: bool = True, threads: bool = False) -> None:
    """Run generated histories.

    :param seed: draws the histories
    :param shrinks: look for the smallest simulation that fails
    :param threads: the real pool carries the requests; False: its stand-in, whose threads take turns
    """
    machine = hypothesis.seed(seed)(type("ConfirmationMachine", (ConfirmationMachine,), {"threads": threads}))
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrinks else [])]
    with small_world():
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=histories,
                stateful_step_count=steps,
                deadline=None,
                derandomize=False,
                database=None,
                report_multiple_bugs=False,
                phases=phases,
                suppress_health_check=list(HealthCheck),
            ),
        )


def report() -> str:
    """Return how often everything happened, as a table."""
    width = max(map(len, COUNTS), default=0)
    return "\n".join(f"{name:<{width}}  {number}" for name, number in sorted(COUNTS.items()))
