"""A dataset as a test or a demo sees it, beside the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.dataset import Dataset, Sample
from airflow_provider_modelarts.emulator.state.json_text import dump_json
from airflow_provider_modelarts.emulator.state.task import Failure
from airflow_provider_modelarts.emulator.state.team import Copy, TeamTask

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.store import Store

PERSON = "human/emulator/person"
LabelsLike = str | Sequence[str | dict[str, Any]]


class InspectedDataset:
    """A dataset to look at, and to act on as a person at the console would.

    Reading or changing proposals first makes those of labeling tasks that have finished.
    """

    def __init__(self, store: Store, dataset: Dataset) -> None:
        self._store = store
        self._dataset = dataset

    @property
    def dataset_id(self) -> str:
        """Id of the dataset."""
        return self._dataset.dataset_id

    @property
    def samples(self) -> dict[str, Sample]:
        """Samples by id; look at them, but write with :meth:`edit`."""
        return self._dataset.samples

    @property
    def proposals(self) -> dict[str, dict[str, Any]]:
        """Samples awaiting confirmation by id, newest first, as they are served."""
        with self._store.lock:
            self._store.settle(self._dataset)
            return {proposal.sample_id: proposal.data() for proposal in self._dataset.proposals.newest_first()}

    @property
    def unconfirmed(self) -> int:
        """How many samples await confirmation."""
        with self._store.lock:
            self._store.settle(self._dataset)
            return len(self._dataset.proposals)

    @property
    def annotated(self) -> int:
        """How many samples have final labels."""
        return self._dataset.annotated

    @property
    def labels(self) -> dict[str, dict[str, Any]]:
        """The label set by name."""
        return self._dataset.labels

    @property
    def tasks(self) -> dict[str, int]:
        """Status number of each labeling task by id, oldest first."""
        now = self._store.clock.now()
        with self._store.lock:  # a start that arrives at the same time adds to them
            return {task_id: task.status(now) for task_id, task in self._dataset.tasks.items()}

    @property
    def status(self) -> int:
        """Status of the dataset: 1 normal, 6 publishing ... (contract 6.1); may be set."""
        with self._store.lock:
            self._store.settle(self._dataset)
            return self._dataset.status

    @status.setter
    def status(self, number: int) -> None:
        with self._store.lock:
            self._dataset.status = number

    @property
    def dataset_type(self) -> int:
        """Type of the dataset: 0 image classification ... (contract 6.1); may be set."""
        return self._dataset.dataset_type

    @dataset_type.setter
    def dataset_type(self, number: int) -> None:
        with self._store.lock:
            self._dataset.dataset_type = number

    @property
    def encrypted(self) -> bool:
        """Whether the data lie in a KMS-encrypted bucket; may be set."""
        return self._dataset.encrypted

    @encrypted.setter
    def encrypted(self, value: bool) -> None:
        self._dataset.encrypted = value

    def labels_of(self, sample_id: str) -> list[dict[str, Any]]:
        """Return a sample's final labels: name, type and property of each.

        :raises KeyError: unknown sample.
        """
        with self._store.lock:
            return [dict(label) for label in self._dataset.samples[sample_id].labels]

    def names_of(self, sample_id: str) -> list[str]:
        """Return the names of a sample's final labels."""
        return [label["name"] for label in self.labels_of(sample_id)]

    def edit(self, sample_id: str, labels: LabelsLike, *, author: str = PERSON) -> None:
        """Label a sample as a person does at the console.

        :param labels: a name, or names or whole labels; none makes the sample unlabeled.
        :param author: what `annotated_by` says.
        :raises KeyError: unknown sample.
        """
        given = [labels] if isinstance(labels, str) else labels
        whole = [{"name": label} if isinstance(label, str) else label for label in given]
        with self._store.lock:
            self._store.settle(self._dataset)
            for label in whole:
                self._dataset.add_label(label["name"])
            sample = self._dataset.samples[sample_id]
            self._dataset.set_labels(sample, whole, author, self._store.clock.now())

    def propose(self, documents: Sequence[dict[str, Any]], *, keep: bool = True) -> None:
        """Put samples into the auto list, in the given form and order (oldest first).

        :param documents: samples as they shall be served; their ids must be known or become new samples.
        :param keep: keep the proposals that are there.
        """
        with self._store.lock:
            self._store.settle(self._dataset)
            fragments = []
            for document in documents:
                sample_id = document["sample_id"]
                if sample_id not in self._dataset.samples:
                    key = self._dataset.key_of(f"{sample_id}.jpg")
                    time = int(self._store.clock.now() * 1000)
                    self._dataset.samples[sample_id] = Sample(sample_id, key, time=time)
                self._dataset.proposals.discard(sample_id)
                fragments.append((sample_id, dump_json({"labels": [], "metadata": {}} | document)))
            self._dataset.proposals.replace(fragments, keep=keep)

    def lose_files(self, sample_ids: Sequence[str]) -> None:
        """Remove the files of samples from the input folder; the next synchronization removes the samples."""
        with self._store.lock:
            for sample_id in sample_ids:
                sample = self._dataset.samples[sample_id]
                self._store.files.pop(self._dataset.path_of(sample), None)
                self._dataset.missing.add(sample.key)

    def forget_task(self, task_id: str) -> None:
        """Remove a labeling task, as when someone deletes it: asking for it is 400 ModelArts.4612 then."""
        with self._store.lock:
            self._dataset.tasks.pop(task_id)

    def fail_next_task(
        self, code: str = Failure.code, message: str = Failure.message, detail: str = Failure.detail
    ) -> None:
        """Let the next labeling task that starts on this dataset fail."""
        with self._store.lock:
            self._dataset.failures.append(Failure(code, message, detail))

    def create_team_task(self, emails: tuple[str, ...], sample_ids: tuple[str, ...] = ()) -> str:
        """Make a team task; see :meth:`Emulator.create_team_task`."""
        dataset, seed = self._dataset, self._store.seed
        with self._store.lock:
            number = len(dataset.team_tasks) + 1
            task_id = ids.short_id(seed, "team", dataset.dataset_id, number)
            workers = {ids.hex_id(seed, "worker", email): email for email in emails}
            copies = {
                (sample_id, worker_id): Copy(sample_id, worker_id)
                for sample_id in sample_ids or dataset.samples
                for worker_id in workers
            }
            dataset.team_tasks[task_id] = TeamTask(
                task_id=task_id,
                name=f"task-{number}",
                created=self._store.clock.now(),
                workforce_id=ids.short_id(seed, "workforce"),
                workers=workers,
                copies=copies,
            )
            return task_id

    def team_workers(self, workforce_task_id: str) -> dict[str, str]:
        """Return e-mail address by worker id of a team task's members."""
        return dict(self._dataset.team_tasks[workforce_task_id].workers)

    def team_labels_of(self, workforce_task_id: str, sample_id: str, worker_id: str) -> list[dict[str, Any]]:
        """Return the labels of one member's copy."""
        copy = self._dataset.team_tasks[workforce_task_id].copies[sample_id, worker_id]
        return [dict(label) for label in copy.labels]

    def accept(self, workforce_task_id: str, sample_id: str, worker_id: str) -> None:
        """Accept one member's copy as the owner: its labels reach the dataset (contract 5.1)."""
        with self._store.lock:
            copy = self._dataset.team_tasks[workforce_task_id].copies[sample_id, worker_id]
            copy.accepted = True
            sample = self._dataset.samples[sample_id]
            sample.metadata = (sample.metadata or {}) | (copy.metadata or {}) or None
            sample.usage = copy.usage if copy.usage is not None else sample.usage
            self._dataset.set_labels(sample, copy.labels, copy.author, self._store.clock.now())
