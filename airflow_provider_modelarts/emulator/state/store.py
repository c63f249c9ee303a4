"""The state behind every route: datasets, labeling tasks that end with time, identity, switches."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.state import ids, team_work
from airflow_provider_modelarts.emulator.state.dataset import USABLE, Dataset, Sample
from airflow_provider_modelarts.emulator.state.documents import Presigner, proposal_json
from airflow_provider_modelarts.emulator.state.job import Job
from airflow_provider_modelarts.emulator.state.storage import StoredFile, bucket_and_key
from airflow_provider_modelarts.emulator.state.task import SUCCEEDED, Failure, Task

if TYPE_CHECKING:
    from collections.abc import Callable

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
    :param member: e-mail address of the team member who calls; None: the owner of the datasets does.
    :param job_seconds: how long the next publication, import or other job of a dataset takes.
    :param files: what lies in the object storage and is no sample of a dataset, by path.
    """

    seed: int
    clock: EmulatorClock
    variants: Variants
    identity: Identity
    presigner: Presigner
    task_seconds: float
    job_seconds: float = 3.0
    datasets: dict[str, Dataset] = field(default_factory=dict)
    team_seconds: float = 2.0
    workforces: dict[str, dict[str, Workforce]] = field(default_factory=dict)
    member: str | None = None
    made_workforces: int = 0
    files: dict[str, StoredFile] = field(default_factory=dict)
    made_datasets: int = 0
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

    def new_workforce_id(self) -> str:
        """Return an id for a new team."""
        self.made_workforces += 1
        return ids.short_id(self.seed, "workforce", self.made_workforces)

    def new_dataset(self, name: str, dataset_type: int, *, data_path: str = "", work_path: str = "") -> Dataset:
        """Add an empty dataset.

        :param data_path: "/bucket/folder/" of its files, and `work_path` for what it writes; empty: made up.
        """
        self.made_datasets += 1
        dataset_id = ids.short_id(self.seed, "dataset", self.made_datasets)
        bucket = bucket_and_key(data_path or work_path)[0] or "emulator-data"
        now = self.clock.now()
        dataset = Dataset(dataset_id, name, dataset_type, now, bucket, data_path, work_path, updated=now)
        self.datasets[dataset_id] = dataset
        return dataset

    def is_taken(self, name: str) -> bool:
        """Whether a dataset has this name (contract 7.3, "names")."""
        return any(dataset.name == name for dataset in self.datasets.values())

    def new_id_in(self, dataset: Dataset, kind: str) -> str:
        """Return an id for a new thing of a dataset."""
        dataset.made[kind] += 1
        return ids.short_id(self.seed, kind, dataset.dataset_id, dataset.made[kind])

    def new_job(
        self,
        dataset: Dataset,
        kind: str,
        request: dict[str, Any],
        finish: Callable[[Job], None],
        failure: Failure | None,
        *,
        prefix: str = "",
    ) -> Job:
        """Return a job that begins now and takes as long as jobs take at present."""
        job_id = prefix + self.new_id_in(dataset, kind)
        return Job(job_id, kind, self.clock.now(), self.job_seconds, request, finish, failure)

    def add_files(self, dataset: Dataset, files: list[StoredFile]) -> list[Sample]:
        """Make an unlabeled sample of each file that is none yet; the files lie in the input folder of the dataset."""
        known = {sample.key for sample in dataset.samples.values()}
        made = []
        for file in files:
            key = bucket_and_key(file.path)[1]
            if key in known:
                continue
            known.add(key)
            dataset.images = dataset.images or file.images
            dataset.made["sample"] += 1
            sample_id = ids.hex_id(self.seed, dataset.dataset_id, "added", dataset.made["sample"])
            image = file.image if file.images is dataset.images else None
            time = int(self.clock.now() * 1000)
            sample = Sample(sample_id, key, time, file.size, image, file.truth)
            sample.content, sample.encoding = file.content, file.encoding
            dataset.samples[sample_id] = sample
            dataset.missing.discard(key)
            made.append(sample)
        dataset.updated = self.clock.now()
        return made

    def stored(self, dataset: Dataset, sample: Sample) -> StoredFile:
        """Return the file of a sample, with what the dataset knows of it."""
        is_hard = bool((sample.metadata or {}).get("@modelarts:hard"))
        labels = tuple(sample.labels)
        images = None if sample.image is None else dataset.images
        return StoredFile(
            dataset.path_of(sample),
            sample.size,
            labels,
            is_hard,
            images,
            sample.image,
            sample.truth,
            sample.content,
            sample.encoding,
            sample.metadata,
            sample.usage,
        )

    def files_below(self, folder: str) -> list[StoredFile]:
        """Return the files of a folder "/bucket/folder/" and of its sub-folders, those of samples included."""
        found = {path: file for path, file in self.files.items() if path.startswith(folder)}
        for dataset in self.datasets.values():
            if not (dataset.data_path.startswith(folder) or folder.startswith(dataset.data_path)):
                continue
            for sample in dataset.samples.values():
                path = dataset.path_of(sample)
                if path.startswith(folder) and sample.key not in dataset.missing:
                    # What a dataset says of a file is not annotated beside it.
                    found.setdefault(path, self.stored(dataset, sample).bare())
        return list(found.values())

    def manifest(self, path: str) -> list[StoredFile] | None:
        """Return what the manifest of a published version lists, with labels; None: there is no such manifest."""
        now = self.clock.now()
        for dataset in self.datasets.values():
            for version in dataset.versions.values():
                if version.manifest == path and version.status(now) == USABLE:
                    return [self.stored(dataset, sample) for sample in version.samples.values()]
        return None

    def settle(self, dataset: Dataset) -> None:
        """Do what is due by now, in the order of the moments at which it was due.

        The proposals of labeling tasks that have succeeded are made (contract 10, row "Auto list": filled only at
        status 3), jobs that have ended take effect, and team tasks leave a passing status.
        """
        now = self.clock.now()
        due: list[tuple[float, Task | Job | TeamTask]] = [
            (task.ended(), task)
            for task in dataset.tasks.values()
            if not task.settled and task.status(now) == SUCCEEDED
        ]
        due += [(job.ended(), job) for job in dataset.jobs.values() if not job.settled and job.is_over(now)]
        due += [(task.due, task) for task in dataset.team_tasks.values() if task.due is not None and task.due <= now]
        for _, one in sorted(due, key=itemgetter(0)):
            if isinstance(one, Job):
                dataset.end(one)
                continue
            if not isinstance(one, Task):
                team_work.settle(one, dataset, self.seed)
                continue
            if one.kind != "auto-grouping":  # contract 8.2: grouping leaves nothing to confirm
                self._propose(dataset, one)
            # Only now: if the classifier fails, the next request tries it again.
            one.settled = True

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
