"""A history of one dataset: plans, tries, kills, people, new proposals, faults and an undo, against the emulator."""

from __future__ import annotations

import json
import random
import re
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.auth import forget_tokens
from airflow_provider_modelarts.emulator import Emulator
from airflow_provider_modelarts.emulator.clock import EmulatorClock
from airflow_provider_modelarts.labeling import sample_table as books
from airflow_provider_modelarts.labeling.apply import confirmation as apply
from airflow_provider_modelarts.labeling.apply.confirmation import Confirmation, ConfirmationRequest, LedgerTarget
from airflow_provider_modelarts.labeling.ledger import reconcile
from airflow_provider_modelarts.labeling.ledger import recorder as recording
from airflow_provider_modelarts.labeling.ledger import writer as ledger_writer
from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.plan.lines import PlanRefused
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, PlanWriter, read_plan
from airflow_provider_modelarts.labeling.policy import confirm_all, parse_policy
from airflow_provider_modelarts.labeling.proposals import page_order as walk
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkerPool
from airflow_provider_modelarts.labeling.sample_facts import facts_of
from airflow_provider_modelarts.labeling.stop_signal import StopSignal
from airflow_provider_modelarts.labeling.undo.reverter import revert
from tests.labeling.deterministic_pool import DeterministicPool
from tests.labeling.faults import FAULTS
from tests.labeling.invariants import Violation, WriteWatcher, check_labels
from tests.labeling.raw_samples import without_id
from tests.labeling.simulated_process import ProcessStorage, SimulatedProcess

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    import requests

    from airflow_provider_modelarts.emulator.http.faults import Rule
    from airflow_provider_modelarts.labeling.policy import Decision
    from tests.labeling.raw_samples import Raw

PAGE = 4
RUN = "run"
PUBLISHING, NORMAL = 6, 1
NOWHERE = "orchid"
"""A label of the dataset that nothing is proposed for."""
POLICIES: tuple[Any, ...] = (
    None,
    {"min_score": 0.7},
    {"min_score": 0.6, "max_samples": 1000},
    {"labels": ["daisy", "rose", "tulip"], "hard_examples": "confirm", "audit_share": 0.2, "min_samples": 0},
    {"min_score_by_label": {"rose": 0.9}, "hard_examples": "confirm"},
    {"labels": [NOWHERE], "max_samples": 10},
)
STORED = ("name", "type", "property")


@dataclass(frozen=True)
class Setup:
    """What a simulation begins with.

    :param kind: of the proposals
    :param samples: how many
    :param labeled: share that people had labeled before
    :param bad: share that the service refuses to write
    :param keeps: "plan", "ledger", "both" or "nothing": what is stored
    :param label_name: only proposals with this label
    :param anonymous: the texts of refusals do not name the sample
    :param variants: of the emulator
    """

    kind: str = "classification"
    samples: int = 12
    labeled: float = 0.0
    bad: float = 0.0
    keeps: str = "both"
    policy: Any = None
    label_name: str | None = None
    batch_size: int = 100
    concurrency: int = 1
    anonymous: bool = False
    variants: dict[str, Any] = field(default_factory=dict)
    latency: float = 0.0
    seed: int = 0
    threads: bool = False
    """Whether the real pool carries the requests; its threads are not drawn from the seed."""

    @property
    def has_plan(self) -> bool:
        return self.keeps != "nothing"

    @property
    def has_ledger(self) -> bool:
        return self.keeps in ("ledger", "both")


@dataclass(frozen=True)
class Event:
    """Something that happens while a process is at work.

    :param after: requests and stores before it
    :param what: an act of people, or a fault
    """

    after: int
    what: str


class Simulation:
    """See the module. ``counts`` says how often what happened."""

    def __init__(self, setup: Setup, counts: Counter[str]) -> None:
        self.setup, self.counts = setup, counts
        self.rng = random.Random(setup.seed)
        # A fixed time: the same seed gives the same story, its ids and its order included.
        self.emulator = Emulator(seed=setup.seed % 100, clock=EmulatorClock(lambda: 1_790_000_000.0))
        for name, value in setup.variants.items():
            setattr(self.emulator.variants, name, value)
        self.dataset_id = self.emulator.load_proposals(setup.samples, kind=setup.kind, seed=setup.seed)
        self.dataset = self.emulator.dataset(self.dataset_id)
        self.objects: dict[str, bytes] = {}
        self.events = self.tries = self.ticks = self.edits = self.processes = 0
        self.told: list[str] = []
        """What happened, a line each, for who looks into a violation."""
        self.busy_until = 0.0
        self.script: list[Event] = []
        self.storage_faults = 0
        self.acts: set[str] = set()
        self.bad: set[str] = set()
        self.refused: set[str] = set()
        """Samples whose write the service has refused by a code."""
        self.doubted: set[str] = set()
        """Written by us, and unknown to the ledger: nothing tells them from what a person has accepted."""
        self.rules: list[tuple[str, Rule]] = []
        self.digest: str | None = None
        self.planned: dict[str, tuple[str, Raw]] = {}
        self.calm = False
        self.is_undone = False
        self.had_unended_try = False
        """Whether a try was killed or frozen, or ran beside another: what it wrote, another one cannot know."""
        self.world = threading.RLock()
        """Held while the emulator answers, and while people act."""
        self.known = self.dataset.proposals
        self.dataset._dataset.add_label(NOWHERE)
        self.watcher = WriteWatcher(self)
        self._label_some_by_hand()
        self.watcher.begin()
        self.begun = {sample_id: self._labels(sample_id) for sample_id in self.dataset.samples}
        self._refuse_some()
        forget_tokens()

    def note(self, what: str) -> None:
        self.counts[what] += 1

    def tell(self, what: str, body: bytes | str | None = None) -> None:
        """Keep a line about what happened; of a body the ids of its samples."""
        ids = [form["sample_id"] for form in json.loads(body).get("samples", ())] if body else []
        self.told.append(" ".join([f"{self.emulator.clock.now() % 100_000:.1f} s, event {self.events}:", what, *ids]))

    def _label_some_by_hand(self) -> None:
        chosen = [one for one in self.dataset.proposals.values() if self.rng.random() < self.setup.labeled]
        for raw in chosen:
            self.dataset.edit(raw["sample_id"], [self.label_by_hand()])
            self.dataset.propose([{**raw, "annotated_by": "human/emulator/person"}])
            self.note("labeled before")

    def _refuse_some(self) -> None:
        # After three in a row that are refused without any reason there is no patience to find out about the others.
        most = 2 if self.setup.variants.get("results") in ("missing", "short") else 100
        for sample_id in list(self.dataset.proposals):
            if len(self.bad) < most and self.rng.random() < self.setup.bad:
                code = self.rng.choice(["ModelArts.4420", "ModelArts.4423", "ModelArts.4424"])
                self.emulator.faults.add(
                    "PUT", "data-annotations", "fail_sample", times=None, sample_id=sample_id, code=code
                )
                self.bad.add(sample_id)

    def label_by_hand(self) -> Raw:
        self.edits += 1
        label: Raw = {"name": f"by hand {self.edits}"}
        if self.setup.kind == "detection":
            label |= {"type": 1, "property": {"@modelarts:shape": "bndbox", "@modelarts:feature": [[1, 2.0], [3, 4]]}}
        return label

    # What goes on beside the processes

    def latency(self) -> float:
        return 0.0 if self.calm else self.rng.random() * self.setup.latency

    def token_takes(self) -> float:
        """Return the seconds that it takes to get a token."""
        if self.calm or self.rng.random() < 0.5:
            return 0.0
        self.note("a token takes long")
        return self.rng.choice([10.0, 28.0, 40.0])

    def run_due_events(self, process: SimulatedProcess, kind: str) -> None:
        """Let happen what the script has for this moment."""
        self.ticks += 1
        if self.dataset.status == PUBLISHING and self.emulator.clock.now() >= self.busy_until:
            self.dataset.status = NORMAL
        due = [event for event in self.script if event.after < self.ticks]
        self.script = [event for event in self.script if event.after >= self.ticks]
        for event in due:
            self.let_happen(event.what, process, kind)

    def let_happen(self, what: str, process: SimulatedProcess | None = None, kind: str = "write") -> None:
        """Let people act, or arm a fault for the request under way."""
        self.tell(what)
        if what in FAULTS:
            self.rules.append((what, FAULTS[what](self.emulator, kind)))
            if what.startswith("delay"):
                self.emulator.clock.advance(self.rng.choice([5, 20, 40]))
        elif what == "stop":
            if process is not None:
                process.is_stopped = True
                self.note("asked to stop")
        elif what == "busy":
            self.dataset.status = PUBLISHING
            self.busy_until = self.emulator.clock.now() + self.rng.choice([5, 30, 120])
            self.note("busy")
        elif what == "storage fails":
            self.storage_faults += 1
        elif what == "time passes":
            self.emulator.clock.advance(self.rng.choice([10, 40, 3000]))
            self.note("time passed")
        else:
            self._let_people_act(what)

    def let_storage_fail(self) -> None:
        if self.storage_faults:
            self.storage_faults -= 1
            self.note("storage failed")
            raise OSError("the storage does not answer")

    def fails_halfway(self) -> bool:
        """Whether an upload breaks off and leaves a part."""
        return not self.calm and self.rng.random() < 0.15

    def _let_people_act(self, what: str) -> None:
        listed, everybody = list(self.dataset.proposals), list(self.dataset.samples)
        if what == "correct" and everybody:
            sample_id = self.rng.choice(everybody)
            self.dataset.edit(sample_id, [self.label_by_hand() for _ in range(self.rng.choice([1, 2]))])
        elif what == "clear" and everybody:
            self.dataset.edit(self.rng.choice(everybody), [])
        elif what == "confirm by hand" and listed:
            self._accept(self.rng.choice(listed))
        elif what == "accept what was refused" and (refused := sorted(self.refused & self.dataset.proposals.keys())):
            self._accept(self.rng.choice(refused))
        elif what == "label, and propose again" and listed:
            self._label_and_propose_again(self.dataset.proposals[self.rng.choice(listed)])
        elif what in ("propose first", "propose last", "propose again", "propose otherwise") and everybody:
            self._propose(what, everybody)
        else:
            return
        self.watcher.look()
        self.acts.add(what)
        self.note(what)

    def _accept(self, sample_id: str) -> None:
        self.dataset.edit(sample_id, [{**label} for label in self.dataset.proposals[sample_id]["labels"]])

    def _label_and_propose_again(self, raw: Raw) -> None:
        """Let a person label a sample, and a labeling task then propose for it what it proposed before."""
        self.dataset.edit(raw["sample_id"], [self.label_by_hand()])
        self.watcher.look()
        self.watcher.touch(raw["sample_id"])
        served = [one for one in self.dataset.proposals.values() if one["sample_id"] != raw["sample_id"]]
        self.dataset.propose([{**raw, "annotated_by": "human/emulator/person"}, *reversed(served)], keep=False)

    def note_answer(self, response: requests.Response, unchanged: set[str]) -> None:
        """Note how a write was answered.

        :param unchanged: samples in its body that have the labels they had
        """
        body = response.json() if response.content[:1] == b"{" else {}
        if response.status_code in (429, 503) or "4381" in str(body.get("error_code")):
            self.note("a write held up")
        elif response.status_code >= 400:
            self.note("a request refused")
        elif any(one.get("error_code") for one in body.get("results") or ()):
            self.refused |= unchanged
            self.note("a sample refused")

    def _propose(self, what: str, everybody: Sequence[str]) -> None:
        """Let a labeling task propose something: a new sample at either end, or a known one once more."""
        served = list(self.dataset.proposals.values())
        model = self.rng.choice(served) if served else None
        if what in ("propose again", "propose otherwise"):
            sample_id = self.rng.choice(everybody)
            raw = self.known.get(sample_id, model)
        else:
            self.edits += 1
            sample_id, raw = f"{self.edits:032x}", model
        if raw is None:
            return
        labels = [dict(label) for label in raw["labels"]]
        if what == "propose otherwise":
            labels[0]["name"] = "something else"
        by = "human/emulator/person" if self.begun.get(sample_id) or self._labels(sample_id) else ""
        document = {**(model or {}), **raw, "sample_id": sample_id, "labels": labels, "annotated_by": by}
        self.watcher.touch(sample_id)
        self.known.setdefault(sample_id, document)
        keep = [one for one in reversed(served) if one["sample_id"] != sample_id]
        self.dataset.propose([document, *keep] if what == "propose first" else [*keep, document], keep=False)
        self.begun.setdefault(sample_id, [])

    def _labels(self, sample_id: str) -> list[Raw]:
        sample = self.dataset.samples.get(sample_id)
        return [] if sample is None else [dict(label) for label in sample.labels]

    # What the processes do

    def place(self, process: SimulatedProcess | None = None) -> ProcessStorage:
        return ProcessStorage("memory://bucket", self.objects, process)

    def identity(self, number: int) -> RunIdentity:
        return RunIdentity("flowers", RUN, "confirm", try_number=number)

    def plan_place(self, process: SimulatedProcess | None = None) -> ProcessStorage:
        if self.setup.keeps == "ledger":
            place = self.identity(1).plan_path(self.place(process))
            assert isinstance(place, ProcessStorage)
            return place
        return self.place(process) / "plan.jsonl"

    @property
    def plan(self) -> Plan | None:
        """The plan; None if there is none, or only a part of one: operators replace that before they begin."""
        try:
            return read_plan(self.plan_place()) if self.plan_place().exists() else None
        except PlanRefused:
            return None

    def _remove_part_of_plan(self) -> None:
        if self.plan is None and self.objects.pop(str(self.plan_place()), None) is not None:
            self.note("a part of a plan replaced")

    def _note_empty_plan(self) -> None:
        plan = self.plan if self.setup.has_plan else None
        if plan is not None and self.dataset.proposals:
            if not plan.counts["confirm"]:
                self.note("a plan that confirms nothing")
            if not any(True for _ in plan.samples()):
                self.note("an empty plan")

    def planning(self, **fate: Any) -> SimulatedProcess:
        """Return a process that makes the plan, as an Airflow task of its own does."""
        filters = {"label_name": self.setup.label_name} if self.setup.label_name else {}

        def work(process: SimulatedProcess) -> Any:
            return make_plan(
                process.client,
                self.dataset_id,
                self.plan_place(process),
                policy=self.setup.policy,
                filters=filters,
                crew=_crew(self.setup.concurrency),
                should_stop=lambda: process.is_stopped,
                clock=process.clock,  # type: ignore[arg-type]  # a clock by what it does
            ).result

        return SimulatedProcess(self, work, **fate)

    def applying(self, **fate: Any) -> SimulatedProcess:
        """Return a process that confirms: the next try of the Airflow task."""
        self.tries += 1
        setup, identity = self.setup, self.identity(self.tries)
        # A plan of its own task is applied without a word on what it was made for.
        is_alone = setup.keeps in ("plan", "both") and self.rng.random() < 0.7

        def work(process: SimulatedProcess) -> Any:
            self._remove_part_of_plan()
            self._note_empty_plan()
            says_all = not is_alone or self.plan is None
            place = LedgerTarget(self.place(process), identity, "ada") if setup.has_ledger else None
            request = ConfirmationRequest.checked(
                self.dataset_id,
                policy=setup.policy if says_all else None,
                label_name=setup.label_name if says_all else None,
                batch_size=setup.batch_size,
                concurrency=setup.concurrency,
                plan=self.plan_place(process) if setup.keeps in ("plan", "both") else None,
                ledger=place,
            )
            run = Confirmation(
                process.client,
                request,
                stop=StopSignal(lambda: process.is_stopped),
                clock=process.clock,  # type: ignore[arg-type]
            )
            process.counts = run.result
            return run.run()

        return SimulatedProcess(self, work, **fate)

    def undoing(self, **fate: Any) -> SimulatedProcess:
        """Return a process that takes the run's confirmations back."""
        self.is_undone = True

        def work(process: SimulatedProcess) -> Any:
            return revert(
                process.client,
                self.place(process),
                RUN,
                plans=[plan] if (plan := self.plan) else [],
                batch_size=self.setup.batch_size,
                concurrency=1,
                should_stop=lambda: process.is_stopped,
                clock=process.clock,  # type: ignore[arg-type]
            )

        return SimulatedProcess(self, work, undoes=True, **fate)

    # What processes ask the simulation

    def as_answered(self, kind: str, response: requests.Response) -> requests.Response:
        """Return an answer, its texts without the ids of samples if that is how this simulation has it."""
        if kind == "write" and self.setup.anonymous and response.status_code == 200:
            response._content = re.sub(rb" \[[^\[\]]*\]\"", b'"', response.content)
        return response

    def shown_by(self, process: SimulatedProcess) -> str:
        """Return the kind of single read that allows a process's writes."""
        return "final" if process.undoes else "proposal"

    def as_stored(self, labels: Sequence[Raw]) -> list[Raw]:
        kind = self.dataset.dataset_type
        return [
            {"name": one["name"], "type": one.get("type", kind), "property": one.get("property") or {}}
            for one in labels
        ]

    def check_form(self, process: SimulatedProcess, form: Raw, shown: Raw) -> None:
        """Judge what one sample is about to be given, by what a read showed of it."""
        sample_id = form["sample_id"]
        if process.undoes:
            self._check_undo(sample_id, form["labels"], shown)
            return
        check_labels(form, shown, needs_size=self.setup.kind == "detection")
        if not self.setup.has_plan:
            if self.decide(Sample(shown)).action != "confirm":
                raise Violation(f"{sample_id} is sent although the policy does not confirm it")
            return
        self.load_plan()
        action, raw = self.planned.get(sample_id, ("not planned", {}))
        if action != "confirm":
            raise Violation(f"{sample_id} is sent; the plan says: {action}")
        if json.dumps(without_id(raw["labels"])) != json.dumps(without_id(form["labels"])):
            raise Violation(f"{sample_id} is sent with other labels than planned")

    def decide(self, sample: Sample) -> Decision:
        policy = parse_policy(self.setup.policy)
        return policy.decide(sample) if policy else confirm_all(facts_of(sample))

    def _check_undo(self, sample_id: str, labels: list[Raw], shown: Raw) -> None:
        ours = self.watcher.ours.get(sample_id)
        if sample_id in self.watcher.raced:
            return
        given = shown["labels"] if sample_id in self.watcher.human else self.watcher.prior.get(sample_id) or []
        if self.as_stored(given) == self._planned_labels(sample_id) and self.had_unended_try:
            # A person chose the very labels that were planned: a try that did not end may have written them itself.
            self.note("undone although a person had chosen the same")
            self.watcher.raced.add(sample_id)
            return
        if ours is None or self.as_stored(shown["labels"]) != ours:
            raise Violation(f"undo touches {sample_id}, which does not carry what the run wrote: {shown['labels']}")
        if self.as_stored(labels) != self.watcher.prior[sample_id]:
            raise Violation(f"undo gives {sample_id} {labels}; before the run it had {self.watcher.prior[sample_id]}")

    def _planned_labels(self, sample_id: str) -> list[Raw] | None:
        self.load_plan()
        return self.as_stored(self.planned[sample_id][1]["labels"]) if sample_id in self.planned else None

    def check_before(self, sample_id: str, before: list[Raw]) -> None:
        """Raise unless labels of a person that a write has just replaced are stored in the ledger already."""
        if not before or before == self.watcher.ours.get(sample_id) or not self.setup.has_ledger:
            return
        self.note("a person's labels replaced")
        wanted = [self.as_stored(entry["before"]) for entry in self.entries(sample_id) if entry.get("before")]
        if before not in wanted:
            raise Violation(f"{sample_id}: {before} was replaced, and no part of the ledger knows it")

    def entries(self, sample_id: str) -> Iterator[Raw]:
        for name, content in self.objects.items():
            if ".try" in name:
                lines = (json.loads(line) for line in content.splitlines()[1:-1])
                yield from (line for line in lines if line["sample_id"] == sample_id)

    def load_plan(self) -> None:
        """Learn what is planned, once it is stored; a plan that is another by then is a violation."""
        plan = self.plan
        if plan is None:
            raise Violation("a write goes out before the plan is stored")
        if self.digest is None:
            self.digest = plan.digest
            self.planned = {one.sample.sample_id: (one.decision.action, one.sample.raw) for one in plan.samples()}
        elif plan.digest != self.digest:
            raise Violation("a retry applies another plan")


def _crew(size: int) -> Any:
    process = SimulatedProcess.here()
    return (
        WorkerPool(size)
        if process.simulation.setup.threads
        else DeterministicPool(size, process, process.simulation.rng)
    )


def _token_hex(size: int) -> str:
    """Return what names a writer; no chance but the simulation's own."""
    return f"{SimulatedProcess.here().simulation.rng.getrandbits(8 * size):0{2 * size}x}"


_keeps = PlanWriter._keeps


def _keeps_noted(writer: PlanWriter) -> bool:
    keeps = _keeps(writer)
    if keeps:
        SimulatedProcess.here().simulation.note("a plan that came second")
    return keeps


@contextmanager
def small_world() -> Iterator[None]:
    """Let pages, windows and parts be small, so that few samples make many of them."""
    with ExitStack() as stack:
        for target, name, value in (
            (walk, "PAGE_SIZE", PAGE),
            (books, "SAMPLES_SHOWN", 1000),
            (recording, "LedgerWriter", partial(LedgerWriter, window=3)),
            (reconcile, "LedgerWriter", partial(LedgerWriter, window=3)),
            (apply, "WorkerPool", _crew),
            (PlanWriter, "_keeps", _keeps_noted),
            (ledger_writer, "secrets", SimpleNamespace(token_hex=_token_hex)),
        ):
            stack.enter_context(patch.object(target, name, value))
        yield
