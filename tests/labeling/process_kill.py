"""Real processes that confirm and are killed with SIGKILL at any moment; a retry must end what they began (B17)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger, replay
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.labeling.storage.sealed_file import StorageDamaged
from tests.labeling.invariants import Violation
from tests.labeling.raw_samples import stored

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator

POLICY = {"min_score": 0.4}
PATIENCE = 300.0
_TYPE = {"classification": 0, "multi_label": 0, "detection": 1}


class Kill:
    """One process killed, and its retry.

    :param emulator: started
    :param folder: for plan and ledger
    :param samples: how many are proposed
    :param seed: of the moment, the threads and the proposals
    :param is_held: the process gets no answer from its moment on, so that it cannot end before it is killed; else it
        goes on, and is killed within the next requests or stores
    """

    def __init__(self, emulator: Emulator, folder: Path, samples: int, seed: int, *, is_held: bool = False) -> None:
        self.emulator, self.folder, self.is_held = emulator, folder, is_held
        self.rng = random.Random(seed)
        self.concurrency = self.rng.choice([1, 4, 8, 16])
        self.kind = self.rng.choice(list(_TYPE))
        emulator.journal.keep_bodies = True
        self.dataset_id = emulator.load_proposals(samples, kind=self.kind, seed=seed)
        self.dataset = emulator.dataset(self.dataset_id)
        self.sent: Counter[str] = Counter()
        # First the plan is read, then pages are read and written.
        pages = -(-samples // 100)
        self.moment = self.rng.randint(1 if self.rng.random() < 0.1 else pages + 8, 3 * pages + 6)
        self._seen = 0
        self._is_due, self._is_dead = threading.Event(), threading.Event()
        self.was_killed = False
        """False: it was over before the moment came."""
        self.note = ""

    def tell(self) -> None:
        """Kill, try again, and raise Violation unless all is as if nobody had been killed."""
        self.emulator.observers.append(self._watch)
        try:
            self._kill()
            done = self.dataset.annotated
            result = self._retry()
        finally:
            self.emulator.observers.remove(self._watch)
        self.note = f"{self.note}, {done} confirmed by then, {result['passes']} walk(s) after it"
        self._judge(result)

    def _watch(self, record: Any) -> None:
        self._seen += 1
        if record.method == "PUT":
            self.sent.update(sample["sample_id"] for sample in json.loads(record.body)["samples"])
        if self._seen >= self.moment:
            self._is_due.set()
            if self.is_held:
                self._is_dead.wait(PATIENCE)

    def _start(self, try_number: int) -> subprocess.Popen[str]:
        emulator = self.emulator
        given = {
            "url": emulator.url,
            "credentials": {
                "user": emulator.user,
                "password": emulator.password,
                "domain": emulator.domain,
                "project_name": emulator.project_name,
            },
            "dataset_id": self.dataset_id,
            "policy": POLICY,
            "concurrency": self.concurrency,
            "ledger": str(self.folder),
            "try_number": try_number,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.labeling.confirm_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(given))
        process.stdin.close()
        process.stdin = None
        return process

    def _kill(self) -> None:
        process = self._start(1)
        end = time.monotonic() + PATIENCE
        while not self._is_due.wait(0.05):
            if process.poll() is not None or time.monotonic() > end:
                break
        if not self.is_held:
            time.sleep(self.rng.random() * 0.03)
        process.kill()
        _, err = process.communicate()
        self._is_dead.set()
        if process.returncode not in (0, -9):
            raise Violation(f"the process failed before it was killed: {err[-2000:]}")
        self.was_killed = process.returncode == -9
        self.note = f"{'killed' if self.was_killed else 'over'} after request {self._seen}"

    def _retry(self) -> dict[str, Any]:
        out, err = self._start(2).communicate(timeout=PATIENCE)
        if not out:
            raise Violation(f"the retry failed: {err[-2000:]}")
        result: dict[str, Any] = json.loads(out)
        return result

    def _judge(self, result: dict[str, Any]) -> None:
        path = RunIdentity("flowers", "run", "confirm").plan_path(self.folder)
        plan, ledger = read_plan(path), read_ledger(self.folder, "run")
        wanted = {one.sample.sample_id: one for one in plan.samples() if one.decision.action == "confirm"}
        final = {sample_id: self.dataset.labels_of(sample_id) for sample_id in self.dataset.samples}
        kind = _TYPE[self.kind]
        for sample_id, labels in final.items():
            planned = wanted[sample_id].sample.raw["labels"] if sample_id in wanted else []
            asked = [{"type": kind, "property": {}, **label} for label in stored(planned)]
            if labels != asked:
                raise Violation(f"{sample_id} has {labels}, planned was {asked}")
        if self.sent.keys() != wanted.keys():
            raise Violation("other samples were sent than planned")
        # A sample goes out twice only if it was under way when the process was killed.
        twice = sum(count > 1 for count in self.sent.values())
        if twice > self.concurrency * 100 or max(self.sent.values()) > 2:
            raise Violation(f"{twice} samples were sent more than once")
        if result["confirmed"] != len(wanted) or result["failed"] or result["gone"]:
            raise Violation(f"{len(wanted)} were planned, reported: {result}")
        self._judge_ledger(plan, ledger, wanted)

    @staticmethod
    def _judge_ledger(plan: Any, ledger: Any, wanted: dict[str, Any]) -> None:
        try:
            fates = Counter(entry.fate for _, entry in ledger.entries())
        except StorageDamaged as error:
            raise Violation(f"the ledger is broken: {error}") from None
        state = replay(plan, ledger)
        if list(state.unsettled()) or any(state.fate(sample_id) != "confirmed" for sample_id in wanted):
            raise Violation(f"the ledger does not know all: {fates}")
        problems = [chain.verify() for chain in ledger.chains]
        if problems[-1] or any("is not the last part" not in problem for found in problems for problem in found):
            raise Violation(f"the chains are not whole: {problems}")
