"""``make demo``: the example DAG, once, with its outcome as a table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from demo import metadata
from demo.environment import EXAMPLE_DAGS, REPOSITORY, airflow_settings, child_environment
from demo.journal_steps import Step, steps
from demo.metadata import STATE
from demo.progress import Progress

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator

LABELED = 150
TASK_SECONDS = 4.0
"""The wait looks after five seconds for the first time; a job that takes longer only makes the demo longer."""
GIVE_UP_AFTER = 180.0
LOG = STATE / "last-run.log"
LEDGER = STATE / "ledger"
LEDGER_SETTING = {"MODELARTS_LEDGER_URI": f"file://{LEDGER}", "MODELARTS_PLACE": f"file://{STATE}"}
"""Where the example DAGs keep their plans and their ledger."""
ACTIONS = {"confirm": "to be confirmed", "review": "left for people", "leave": "left alone"}


class DemoError(Exception):
    """The demo failed; the text is one line that says why."""


@dataclass(frozen=True)
class Outcome:
    """What the demo prints at the end."""

    images: int
    labeled_before: int
    proposals: int
    confirmed: int
    for_people: int
    right: int
    steps: list[Step]
    seconds: float
    requests: int
    planned: list[str]
    recorded: int
    record: Path


def run(seed: int, output: TextIO) -> Outcome:
    """Run the example DAG on the digits.

    :param seed: draws the labeled images.
    :param output: where progress goes.
    :raises DemoError: the run failed.
    """
    from importlib import import_module

    STATE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE, prefix="run-") as folder:
        progress = Progress(output)
        airflow = _start_airflow(Path(folder))
        try:
            # Imported while Airflow starts in its own process: both take a while.
            emulator_module = import_module("airflow_provider_modelarts.emulator")
            with emulator_module.Emulator(seed=seed, task_seconds=TASK_SECONDS) as emulator:
                return _run_on(emulator, airflow, Path(folder), progress)
        finally:
            _stop(airflow)


def _run_on(emulator: Emulator, airflow: subprocess.Popen[str], folder: Path, progress: Progress) -> Outcome:
    dataset_id = emulator.load_digits(labeled=LABELED)
    dataset = emulator.dataset(dataset_id)
    before = {sample_id for sample_id in dataset.samples if dataset.labels_of(sample_id)}
    progress.say(f"the emulator serves {len(dataset.samples):,} handwritten digits, {len(before)} of them labeled")
    outcome_file = folder / "outcome.json"
    _hand_over(airflow, {
        "connection": emulator.connection,
        "conf": {"dataset_id": dataset_id},
        "outcome": str(outcome_file),
    })  # fmt: skip
    _follow(airflow, outcome_file, emulator, progress)
    came = _read(outcome_file, airflow)
    if came["state"] != "success":
        raise DemoError(came["error"] or f"the run ended as {came['state']}")
    progress.finish()
    result = next(task["result"] for task in came["tasks"] if task["task_id"] == "confirm")
    plan_file = Path(result["plan_uri"].removeprefix("file://"))
    truth = emulator.truth(dataset_id)
    confirmed = [one for one in dataset.samples if one not in before and dataset.labels_of(one)]
    if len(confirmed) != result["confirmed"]:
        raise DemoError(f"the DAG reports {result['confirmed']} confirmed, the emulator holds {len(confirmed)}")
    return Outcome(
        images=len(dataset.samples),
        labeled_before=len(before),
        proposals=result["seen"],
        confirmed=len(confirmed),
        for_people=result["seen"] - len(confirmed),
        right=sum(dataset.names_of(one) == [truth[one]] for one in confirmed),
        steps=steps(emulator.journal, came["ended"]),
        seconds=progress.seconds,
        requests=len(emulator.journal),
        planned=_planned(plan_file),
        recorded=_recorded(came["run_id"]),
        record=plan_file.parent,
    )


def _planned(plan_file: Path) -> list[str]:
    """Return what was decided before anything was written, a line for each reason, the most frequent first."""
    from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
    from airflow_provider_modelarts.labeling.plan.words import rule_in_words

    decisions = Counter(planned.decision for planned in read_plan(plan_file).samples())
    return [f"{count:,} {ACTIONS[action]}: {rule_in_words(rule)}" for (action, rule), count in decisions.most_common()]


def _recorded(run_id: str) -> int:
    """Return how many confirmed samples the ledger holds, all of it checked."""
    from airflow_provider_modelarts.labeling.ledger.reader import read_ledger

    ledger = read_ledger(LEDGER, run_id)
    problems = ledger.verify()
    if problems:
        raise DemoError(problems[0])
    return sum(entry.fate == "confirmed" for _, entry in ledger.entries())


def _start_airflow(folder: Path) -> subprocess.Popen[str]:
    metadata.copy_to(folder)
    settings = {
        **airflow_settings(folder, dags_folder=EXAMPLE_DAGS),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        **LEDGER_SETTING,
    }
    with LOG.open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "demo.workflow"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=child_environment(os.environ, settings),
            cwd=REPOSITORY,
            text=True,
            start_new_session=True,
        )


def _hand_over(airflow: subprocess.Popen[str], task: dict[str, Any]) -> None:
    assert airflow.stdin is not None  # noqa: S101  # it was asked for above
    with suppress(BrokenPipeError):  # it has ended already; its exit status says why
        airflow.stdin.write(json.dumps(task) + "\n")
        airflow.stdin.close()


def _follow(airflow: subprocess.Popen[str], outcome_file: Path, emulator: Emulator, progress: Progress) -> None:
    deadline = time.monotonic() + GIVE_UP_AFTER
    while airflow.poll() is None and not outcome_file.exists():
        progress.look(emulator.journal)
        if time.monotonic() > deadline:
            raise DemoError(f"the run has not ended after {GIVE_UP_AFTER:.0f} s")
        time.sleep(0.1)
    progress.look(emulator.journal)


def _read(outcome_file: Path, airflow: subprocess.Popen[str]) -> dict[str, Any]:
    if not outcome_file.exists():
        lines = [line.strip() for line in LOG.read_text(encoding="utf-8", errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "it said nothing")
        raise DemoError(f"Airflow ended with exit status {airflow.returncode}: {last[:300]}")
    outcome: dict[str, Any] = json.loads(outcome_file.read_text(encoding="utf-8"))
    return outcome


def _stop(airflow: subprocess.Popen[str]) -> None:
    """End the child and whatever it started."""
    with suppress(ProcessLookupError):
        os.killpg(airflow.pid, signal.SIGKILL)
    airflow.wait()


def table(outcome: Outcome, seed: int) -> str:
    """Return the outcome as the text that ends the demo."""
    share = f" ({outcome.right / outcome.confirmed:.1%})" if outcome.confirmed else ""
    counts = [
        ("images", f"{outcome.images:,}"),
        ("labeled before", f"{outcome.labeled_before:,}"),
        ("proposals", f"{outcome.proposals:,}"),
        ("confirmed", f"{outcome.confirmed:,}"),
        ("left for people", f"{outcome.for_people:,}"),
        ("right among the confirmed", f"{outcome.right:,}{share}"),
    ]
    lines = ["", f"Seed {seed}, {outcome.seconds:.1f} s in all, {outcome.requests} requests", ""]
    lines += [f"  {name:<28}{value}" for name, value in counts]
    lines += ["", "  plan, made before anything was written"]
    lines += [f"    {line}" for line in outcome.planned]
    lines += [f"  plan and ledger of {outcome.recorded:,} confirmed images", f"    {outcome.record}"]
    lines += ["", f"  {'step':<10}{'seconds':>8}{'requests':>10}"]
    lines += [f"  {step.name:<10}{step.seconds:>8.2f}{step.requests:>10}" for step in outcome.steps]
    return "\n".join(lines)
