"""The state behind every route: datasets, tasks that ripen with time, identity, switches."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.data.classifier import guess_labels
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.dataset import Dataset, Sample
from airflow_provider_modelarts.emulator.state.documents import Presigner, proposal_fragment
from airflow_provider_modelarts.emulator.state.task import SUCCEEDED, Task

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.api.iam import Identity
    from airflow_provider_modelarts.emulator.clock import EmulatorClock
    from airflow_provider_modelarts.emulator.variants import Variants


class Store:
    """Everything that handlers work on. `lock` guards it: requests and test threads share it.

    :param task_seconds: how long the next labeling task takes, in seconds of the clock.
    """

    def __init__(
        self,
        seed: int,
        clock: EmulatorClock,
        variants: Variants,
        identity: Identity,
        presigner: Presigner,
        task_seconds: float,
    ) -> None:
        self.seed, self.clock, self.variants = seed, clock, variants
        self.identity, self.presigner = identity, presigner
        self.task_seconds = task_seconds
        self.datasets: dict[str, Dataset] = {}
        self.created_datasets = 0
        self.lock = threading.RLock()

    @property
    def person(self) -> str:
        """Who writes labels through the API (contract 4.1: human/{account}/{user})."""
        return f"human/{self.identity.domain}/{self.identity.user}"

    def unknown(self, suffix: str, detail: str) -> Exception:
        """Return the refusal for an unknown object: 400 by the code tables, 404 with the variant (quirk 23)."""
        return refuse(suffix, detail, status=self.variants.unknown_status)

    def holds_datasets(self, project_id: str) -> bool:
        """Whether the datasets are this project's; the user's other one has none."""
        return project_id == self.identity.project_id

    def dataset(self, dataset_id: str) -> Dataset:
        """Return a dataset with everything that time has brought it.

        :raises Refusal: 400 ModelArts.4352 for an unknown id (contract 7.3, "unknown object").
        """
        dataset = self.datasets.get(dataset_id)
        if dataset is None:
            raise self.unknown("4352", dataset_id)
        self.settle(dataset)
        return dataset

    def new_dataset(self, name: str, dataset_type: int) -> Dataset:
        """Add an empty dataset."""
        self.created_datasets += 1
        dataset_id = ids.short_id(self.seed, "dataset", self.created_datasets)
        now = self.clock.now()
        dataset = Dataset(dataset_id, name, dataset_type, now, bucket="emulator-data", updated=now)
        self.datasets[dataset_id] = dataset
        return dataset

    def settle(self, dataset: Dataset) -> None:
        """Let tasks that succeeded by now leave their proposals, in the order of their ends.

        Contract 10, row "Auto list": filled only at status 3.
        """
        now = self.clock.now()
        due = [task for task in dataset.tasks.values() if not task.settled and task.status(now) == SUCCEEDED]
        for task in sorted(due, key=Task.ended):
            if task.kind != "auto-grouping":  # contract 8.2: grouping leaves nothing to confirm
                self._propose(dataset, task)
            # Only now: if the classifier fails, the next request tries it again.
            task.settled = True

    def _propose(self, dataset: Dataset, task: Task) -> None:
        assert dataset.images is not None  # noqa: S101 - a task without images was given a failure at its start
        features = dataset.images.features()
        trained = [dataset.samples[sample_id] for sample_id in task.training if sample_id in dataset.samples]
        # Whoever was labeled meanwhile is not proposed again (contract 8.2, "On success").
        waiting = [sample for sample in dataset.samples.values() if not sample.labels and sample.image is not None]
        fragments: list[tuple[str, bytes]] = []
        if waiting:
            guesses = guess_labels(
                features[_rows(trained)],
                [task.training[sample.sample_id] for sample in trained],
                features[_rows(waiting)],
                accurate=task.config.get("algorithm_type") == "accurate",
                find_hard=task.collect_hard,
                side=dataset.images.side(),
            )
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
                fragment = proposal_fragment(dataset, sample, self.presigner, task.ended(), [label], hard)
                fragments.append((sample.sample_id, fragment))
        dataset.book.replace(fragments)
        task.unconfirmed = len(fragments)


def _rows(samples: list[Sample]) -> list[int]:
    return [sample.image for sample in samples if sample.image is not None]


def _short(number: float) -> Any:
    """Return whole numbers as integers: the examples show scores of `1` beside `1.0` (quirk 5)."""
    return int(number) if number == int(number) else number
