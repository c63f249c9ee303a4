"""The state behind every route: datasets, labeling tasks that end with time, identity, switches."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.state import ids, team_work
from airflow_provider_modelarts.emulator.state.dataset import Dataset
from airflow_provider_modelarts.emulator.state.documents import Presigner, proposal_json
from airflow_provider_modelarts.emulator.state.task import SUCCEEDED, Task

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.clock import EmulatorClock
    from airflow_provider_modelarts.emulator.state.identity import Identity
    from airflow_provider_modelarts.emulator.state.team import TeamTask, Workforce
    from airflow_provider_modelarts.emulator.variants import Variants


class UnknownObjectError(LookupError):
    """A request names something that does not exist; the gateway refuses it (quirk 23).

    :param code: the service's code for it, such as "ModelArts.4352".
    :param name: what was named.
    """

    def __init__(self, code: str, name: str) -> None:
        super().__init__(f"{code} {name}")
        self.code, self.name = code, name


@dataclass(eq=False, repr=False)
class Store:
    """Everything that handlers work on. `lock` guards it: requests and test threads share it.

    :param task_seconds: how long the next labeling task takes, in seconds of the clock.
    :param team_seconds: how long a team task takes to start, to draw samples for an acceptance, and to carry over what
        was accepted.
    :param workforces: teams by id, for each project.
    :param made: how many things of a kind were ever made; ids come from it, so that none returns after a deletion.
    :param member: e-mail address of the team member who calls; None: the owner of the datasets does.
    """

    seed: int
    clock: EmulatorClock
    variants: Variants
    identity: Identity
    presigner: Presigner
    task_seconds: float
    datasets: dict[str, Dataset] = field(default_factory=dict)
    team_seconds: float = 2.0
    workforces: dict[str, dict[str, Workforce]] = field(default_factory=dict)
    member: str | None = None
    made: Counter[str] = field(default_factory=Counter)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def dataset(self, dataset_id: str) -> Dataset:
        """Return a dataset with everything that time has brought it.

        :raises UnknownObjectError: there is none (contract 7.3, "unknown object").
        """
        dataset = self.datasets.get(dataset_id)
        if dataset is None:
            raise UnknownObjectError("ModelArts.4352", dataset_id)
        self.settle(dataset)
        return dataset

    def new_id(self, kind: str, *within: str) -> str:
        """Return the id of a new team, team task or acceptance."""
        self.made[kind] += 1
        return ids.short_id(self.seed, kind, *within, self.made[kind])

    def new_dataset(self, name: str, dataset_type: int) -> Dataset:
        """Add an empty dataset."""
        dataset_id = ids.short_id(self.seed, "dataset", len(self.datasets) + 1)
        now = self.clock.now()
        dataset = Dataset(dataset_id, name, dataset_type, now, bucket="emulator-data", updated=now)
        self.datasets[dataset_id] = dataset
        return dataset

    def settle(self, dataset: Dataset) -> None:
        """Do what is due by now, in the order of the moments at which it was due.

        The proposals of labeling tasks that have succeeded are made (contract 10, row "Auto list": filled only at
        status 3), and team tasks leave a passing status.
        """
        now = self.clock.now()
        due: list[tuple[float, Task | TeamTask]] = [
            (task.ended(), task)
            for task in dataset.tasks.values()
            if not task.settled and task.status(now) == SUCCEEDED
        ]
        due += [(task.due, task) for task in dataset.team_tasks.values() if task.due is not None and task.due <= now]
        for _, task in sorted(due, key=itemgetter(0)):
            if not isinstance(task, Task):
                team_work.settle(task, dataset, self.seed)
                continue
            if task.kind != "auto-grouping":  # contract 8.2: grouping leaves nothing to confirm
                self._propose(dataset, task)
            # Only now: if the classifier fails, the next request tries it again.
            task.settled = True

    def _propose(self, dataset: Dataset, task: Task) -> None:
        from airflow_provider_modelarts.emulator.data import classifier

        assert dataset.images is not None  # noqa: S101 - a task without images was given a failure at its start
        pictures = {sample: sample.image for sample in dataset.samples.values() if sample.image is not None}
        trained = [sample for sample in pictures if sample.sample_id in task.training]
        # Samples that were labeled while the task ran are not proposed (contract 8.2, "On success").
        waiting = [sample for sample in pictures if not sample.labels]
        features = dataset.images.features()
        guesses: list[classifier.Guess] = []
        if waiting:
            guesses = classifier.guess_labels(
                features[[pictures[sample] for sample in trained]],
                [task.training[sample.sample_id] for sample in trained],
                features[[pictures[sample] for sample in waiting]],
                accurate=task.config.get("algorithm_type") == "accurate",
                find_hard=task.collect_hard,
                side=dataset.images.side(),
            )
        fragments = []
        for sample, guess in zip(waiting, guesses, strict=True):
            label = {
                "name": guess.label,
                "type": dataset.dataset_type,
                "id": "1",  # quirk 33: only in auto results
                # As in the examples: what is hard stands in the sample's metadata, not in the label.
                "property": {"@modelarts:hard_coefficient": "0.0", "@modelarts:hard": "false"},
                "score": _short(guess.score),
            }
            hard = {
                "@modelarts:hard_coefficient": _short(guess.coefficient),
                "@modelarts:hard": bool(guess.reasons),
                "@modelarts:hard_reasons": list(guess.reasons),
            }
            served = proposal_json(dataset, sample, self.presigner, task.ended(), [label], **hard)
            fragments.append((sample.sample_id, served))
        dataset.proposals.replace(fragments)
        for team_task in dataset.team_tasks.values():
            team_task.hand_on((proposal.data() for proposal in dataset.proposals), task.started)
        task.unconfirmed = len(fragments)


def _short(number: float) -> Any:
    """Return whole numbers as integers: the examples show scores of `1` beside `1.0` (quirk 5)."""
    return int(number) if number == int(number) else number
