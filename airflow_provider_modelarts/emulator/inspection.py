"""A dataset as a test or a demo sees it, beside the API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.dataset import Dataset, Sample
from airflow_provider_modelarts.emulator.state.hard_reasons import COEFFICIENT, HARD, MEANINGS, REASONS
from airflow_provider_modelarts.emulator.state.json_text import dump_json
from airflow_provider_modelarts.emulator.state.task import Failure
from airflow_provider_modelarts.emulator.state.team import LABELER, REVIEWER, TeamTask, Verdict, Workforce
from airflow_provider_modelarts.emulator.state.team_work import hand_over

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.store import Store
    from airflow_provider_modelarts.emulator.state.team import Copy

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
            self._store.settle(self._dataset)
            return [dict(label) for label in self._dataset.samples[sample_id].labels]

    def names_of(self, sample_id: str) -> list[str]:
        """Return the names of a sample's final labels; those of speech have none."""
        return [label["name"] for label in self.labels_of(sample_id) if "name" in label]

    def mark_hard(self, sample_id: str, *reasons: int, coefficient: float = 1.0) -> None:
        """Make a sample, and its proposal if there is one, a hard example.

        :param reasons: why it is hard, ids of contract 7.5.
        :param coefficient: how hard it is, 0 to 1.
        :raises ValueError: for a reason or a coefficient that there is not.
        :raises KeyError: unknown sample.
        """
        if not set(reasons) <= set(MEANINGS) or not 0 <= coefficient <= 1:
            raise ValueError(f"there are the reasons 0 to {max(MEANINGS)}, and coefficients from 0 to 1")
        hard = {HARD: True, COEFFICIENT: coefficient, REASONS: list(reasons)}
        with self._store.lock:
            self._store.settle(self._dataset)
            sample = self._dataset.samples[sample_id]
            sample.metadata = (sample.metadata or {}) | hard
            kept = [(one.sample_id, one.fragment) for one in self._dataset.proposals]
            for place, (proposed, fragment) in enumerate(kept):
                if proposed == sample_id:
                    document = json.loads(fragment)
                    document["metadata"] |= hard
                    kept[place] = proposed, dump_json(document)
                    self._dataset.proposals.replace(kept)

    def edit(self, sample_id: str, labels: LabelsLike, *, author: str = PERSON) -> None:
        """Label a sample as a person does at the console.

        :param labels: a name, or names or whole labels; none makes the sample unlabeled.
        :param author: what `annotated_by` says.
        :raises KeyError: unknown sample.
        """
        whole = _whole(labels)
        with self._store.lock:
            self._store.settle(self._dataset)
            self._dataset.add_labels_of(whole)
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
            for task in self._dataset.team_tasks.values():
                task.hand_on(({"labels": []} | one for one in documents), self._store.clock.now())

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

    def create_team_task(
        self, emails: tuple[str, ...], sample_ids: tuple[str, ...] = (), *, reviewers: tuple[str, ...] = ()
    ) -> str:
        """Make a team task; see :meth:`Emulator.create_team_task`."""
        dataset, store = self._dataset, self._store
        with store.lock:
            workforce = self._team()
            now = store.clock.now()
            people = {email: workforce.add(store.seed, email, LABELER, now) for email in emails}
            judges = {email: workforce.add(store.seed, email, REVIEWER, now) for email in reviewers}
            shown = [
                {"email": one.email, "worker_id": one.worker_id, "role": one.role}
                for one in (*people.values(), *judges.values())
            ]
            task = TeamTask(
                task_id=store.new_id_in(dataset, "team"),
                name=f"task-{dataset.made['team']}",
                created=now,
                updated=now,
                workers={one.worker_id: one.email for one in people.values()},
                copies={},
                reviewers={one.worker_id: one.email for one in judges.values()},
                teams={workforce.workforce_id: (workforce.name, shown)},
                repetition=len(people),
            )
            task.distribute(sample_ids or dataset.samples)
            dataset.team_tasks[task.task_id] = task
            return task.task_id

    def _team(self) -> Workforce:
        """Return the team of all whom tests have made members."""
        store = self._store
        known = store.workforces.setdefault(store.identity.project_id, {})
        workforce_id = ids.short_id(store.seed, "workforce")
        if workforce_id not in known:
            known[workforce_id] = Workforce(workforce_id, "team-emulator", store.clock.now())
        return known[workforce_id]

    def _team_task(self, workforce_task_id: str) -> TeamTask:
        self._store.settle(self._dataset)
        return self._dataset.team_tasks[workforce_task_id]

    def team_status(self, workforce_task_id: str) -> int:
        """Return the status number of a team task (contract 5.1)."""
        with self._store.lock:
            return self._team_task(workforce_task_id).status

    def team_workers(self, workforce_task_id: str) -> dict[str, str]:
        """Return e-mail address by worker id of a team task's labelers."""
        return dict(self._dataset.team_tasks[workforce_task_id].workers)

    def team_copies(self, workforce_task_id: str) -> dict[tuple[str, str], str]:
        """Return how far each copy is, by sample id and worker id, in the words of contract 5.2's statistics."""
        with self._store.lock:
            task = self._team_task(workforce_task_id)
            return {key: task.phase(copy) for key, copy in task.copies.items()}

    def team_labels_of(self, workforce_task_id: str, sample_id: str, worker_id: str) -> list[dict[str, Any]]:
        """Return the labels of one member's copy."""
        copy = self._dataset.team_tasks[workforce_task_id].copies[sample_id, worker_id]
        return [dict(label) for label in copy.labels]

    def label_team_sample(
        self, workforce_task_id: str, sample_id: str, labels: LabelsLike, worker_id: str | None = None
    ) -> None:
        """Label a copy as its member does; nothing reaches the dataset before it is accepted.

        :param labels: a name, or names or whole labels of the dataset.
        :param worker_id: whose copy; None: that of the first who has one.
        :raises KeyError: unknown team task, copy or label.
        """
        with self._store.lock:
            task = self._team_task(workforce_task_id)
            copy = self._copy(task, sample_id, worker_id)
            whole = [self._dataset.stored(label) for label in _whole(labels)]
            for label in whole:
                if "name" in label:
                    self._dataset.labels[label["name"]]  # a member cannot add labels
            copy.set_labels(whole, f"human/{task.email_of(copy.worker_id)}")

    def review(
        self,
        workforce_task_id: str,
        sample_id: str,
        *,
        accept: bool = True,
        worker_id: str | None = None,
        comment: str = "",
        score: str = "",
    ) -> None:
        """Review a copy as a reviewer does; one that is not accepted goes back to its member.

        :param worker_id: whose copy; None: that of the first who has one.
        :raises KeyError: unknown team task or copy.
        """
        with self._store.lock:
            copy = self._copy(self._team_task(workforce_task_id), sample_id, worker_id)
            copy.review, copy.rejected = Verdict(accept, comment, score), not accept

    def accept(self, workforce_task_id: str, sample_id: str, worker_id: str) -> None:
        """Accept one member's copy as the owner: its labels reach the dataset (contract 5.1)."""
        with self._store.lock:
            copy = self._team_task(workforce_task_id).copies[sample_id, worker_id]
            copy.accepted, copy.rejected = True, False
            hand_over(self._dataset, copy, self._store.clock.now())

    def _copy(self, task: TeamTask, sample_id: str, worker_id: str | None) -> Copy:
        copies = [copy for copy in task.of(worker_id) if copy.sample_id == sample_id]
        if not copies:
            raise KeyError(sample_id)
        return copies[0]


def _whole(labels: LabelsLike) -> list[dict[str, Any]]:
    """Return labels as they are written, given as a name, as names or whole."""
    given = [labels] if isinstance(labels, str) else labels
    return [{"name": label} if isinstance(label, str) else label for label in given]
