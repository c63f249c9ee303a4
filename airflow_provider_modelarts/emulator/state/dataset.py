"""Datasets, their samples and published versions, as the service keeps them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.job import BUSY, CREATE, Job
from airflow_provider_modelarts.emulator.state.json_text import dump_json
from airflow_provider_modelarts.emulator.state.kinds import ENTITY, KINDS, TABLE, TEXT, Kind
from airflow_provider_modelarts.emulator.state.proposals import ProposalList

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from airflow_provider_modelarts.emulator.data.images import ImageSource
    from airflow_provider_modelarts.emulator.state.task import Failure, Task
    from airflow_provider_modelarts.emulator.state.team import TeamTask

COLORS = ("#3399ff", "#93c47d", "#f1c232", "#e06666", "#8e7cc3", "#76a5af", "#f6b26b", "#6fa8dc")
NORMAL, PUBLISHING = 1, 6  # contract 6.1, dataset status
CREATING, USABLE, ERROR = 0, 1, 4  # contract 6.3, version status; a dataset in error has the same number
Labels = list[dict[str, Any]]


@dataclass(slots=True, eq=False)
class Sample:
    """One image, text, sound or table, and its final labels.

    :param key: object key in the dataset's bucket.
    :param time: epoch milliseconds.
    :param size: width, height and depth of an image.
    :param image: index into the dataset's images; None: there is no picture.
    :param truth: what the image really shows, for those who may know it; None: unknown.
    :param content: the bytes of what is no image, and `encoding` that of a text; None: there are none.
    """

    sample_id: str
    key: str
    time: int
    size: tuple[int, int, int] = (64, 64, 3)
    image: int | None = None
    truth: Any = None
    labels: list[dict[str, Any]] = field(default_factory=list)
    annotated_by: str = ""
    metadata: dict[str, Any] | None = None
    usage: str | None = None
    content: bytes | None = None
    encoding: str = "utf-8"

    @property
    def text(self) -> str | None:
        """The content of a text or table; None: there is none, or it is no text."""
        try:
            return None if self.content is None else self.content.decode(self.encoding)
        except UnicodeDecodeError:
            return None


def names_of(sample: Sample) -> list[str]:
    """Return the names of a sample's final labels, each once; labels of speech have none."""
    return list(dict.fromkeys(label["name"] for label in sample.labels if "name" in label))


def split(seed: int, samples: Iterable[Sample], ratio: float) -> list[tuple[Sample, str]]:
    """Divide samples into those for training and those for evaluation; the seed draws them.

    :param ratio: share of those for training, 0 to 1.
    """
    drawn = sorted(samples, key=lambda sample: ids.hex_id(seed, "split", sample.sample_id))
    trained = round(ratio * len(drawn))
    return [(sample, "TRAIN" if place < trained else "EVAL") for place, sample in enumerate(drawn)]


@dataclass(eq=False)
class Version:
    """One published version: samples and labels as they were (contract 6.3).

    :param options: what was asked for, with the defaults of the contract filled in.
    :param previous_id: the version that was the current one before; None: there was none.
    :param folder: where it lies in the object storage.
    :param job: its publication.
    :param labels: the label set by name.
    :param samples: copies of the samples, by id.
    """

    version_id: str
    name: str
    options: dict[str, Any]
    previous_id: str | None
    folder: str
    job: Job
    labels: dict[str, dict[str, Any]]
    samples: dict[str, Sample]

    def status(self, now: float) -> int:
        """Return the status number of contract 6.3."""
        if not self.job.is_over(now):
            return CREATING
        return USABLE if self.job.failure is None else ERROR

    @property
    def annotated(self) -> int:
        """How many of its samples have labels."""
        return sum(bool(sample.labels) for sample in self.samples.values())

    @property
    def manifest(self) -> str:
        """Path of its manifest (contract 6.3, 6.7)."""
        return f"{self.folder}{self.name}.manifest"


@dataclass(eq=False)
class Dataset:
    """One dataset.

    :param dataset_type: 0 image classification, 1 object detection ... (contract 6.1).
    :param data_path: "/bucket/folder/" from which it takes its samples; empty: made of bucket and name.
    :param work_path: "/bucket/folder/" into which it writes; empty: made of bucket and name.
    :param status: 1 normal, 6 publishing ... (contract 6.1); jobs set it, and tests may.
    :param encrypted: the data are in a KMS-encrypted bucket (contract 8.1).
    :param proposals: the samples that await confirmation.
    :param failures: taken by the next tasks that start, first come first served.
    :param schema: the columns of its tables, as they were given.
    :param has_header: whether the first line of its tables has names (contract 6.1, `with_column_header`).
    :param imports_data: whether its tables are read when it is created (contract 6.1, `import_data`).
    """

    dataset_id: str
    name: str
    dataset_type: int
    created: float
    bucket: str
    data_path: str = ""
    work_path: str = ""
    description: str = ""
    images: ImageSource | None = None
    status: int = NORMAL
    encrypted: bool = False
    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: dict[str, Sample] = field(default_factory=dict)
    proposals: ProposalList = field(default_factory=ProposalList)
    tasks: dict[str, Task] = field(default_factory=dict)
    team_tasks: dict[str, TeamTask] = field(default_factory=dict)
    started_tasks: int = 0
    failures: list[Failure] = field(default_factory=list)
    annotated: int = 0
    updated: float = 0.0
    deleted: int = 0
    jobs: dict[str, Job] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)
    current_version: str | None = None
    missing: set[str] = field(default_factory=set)
    made: Counter[str] = field(default_factory=Counter)
    schema: list[dict[str, Any]] = field(default_factory=list)
    has_header: bool = False
    imports_data: bool = False

    def __post_init__(self) -> None:
        self.data_path = self.data_path or f"/{self.bucket}/{self.name}/input/"
        self.work_path = self.work_path or f"/{self.bucket}/{self.name}/output/"
        # Contract 6.1: work path and "name-id"; a new name moves no files.
        self.inner_path = f"{self.work_path}{self.name}-{self.dataset_id}/"

    @property
    def kind(self) -> Kind:
        """What it holds."""
        return KINDS[self.dataset_type]

    def data_of(self, sample: Sample) -> list[str]:
        """Return `sample_data` (contract 3.3): a text as a whole, the lines of a table, of all else nothing."""
        text = sample.text
        if text is None or self.kind.sample_type not in (TEXT, TABLE):
            return []
        return [text] if self.kind.sample_type == TEXT else text.splitlines()[self.has_header :]

    def key_of(self, name: str) -> str:
        """Return the object key of a file in its input folder."""
        return self.data_path.lstrip("/").partition("/")[2] + name

    def path_of(self, sample: Sample) -> str:
        """Return the path of a sample's file, "/bucket/folder/name"."""
        return f"/{self.bucket}/{sample.key}"

    def begin(self, job: Job) -> None:
        """Begin a job; until it ends the status of the dataset says so."""
        self.jobs[job.job_id] = job
        self.status = BUSY.get(job.kind, self.status)

    def end(self, job: Job) -> None:
        """Deal with the end of a job."""
        job.settle()
        if self.status == BUSY.get(job.kind):
            has_failed = job.kind == CREATE and job.failure is not None
            self.status = ERROR if has_failed else NORMAL

    def jobs_of(self, kind: str) -> list[Job]:
        """Return the jobs of one kind, oldest first."""
        return [job for job in self.jobs.values() if job.kind == kind]

    def publish(self, version: Version) -> None:
        """Begin to publish a version."""
        self.versions[version.version_id] = version
        self.begin(version.job)

    def copy_of_samples(self) -> dict[str, Sample]:
        """Return copies of the samples; the lists of labels are shared, for they are never changed in place."""
        return {sample_id: replace(sample) for sample_id, sample in self.samples.items()}

    def switch_to(self, version: Version, now: float) -> None:
        """Make samples and labels those of a version; what was proposed since is dropped."""
        self.current_version = version.version_id
        self.labels = {name: dict(label) for name, label in version.labels.items()}
        self.samples = {sample_id: replace(sample) for sample_id, sample in version.samples.items()}
        self.annotated = version.annotated
        self.proposals.replace([])
        self.updated = now

    def remove_sample(self, sample_id: str, now: float) -> None:
        """Take a sample out of the dataset, its proposal and the copies of team members included."""
        sample = self.samples.pop(sample_id)
        self.annotated -= bool(sample.labels)
        self.proposals.discard(sample_id)
        for task in self.team_tasks.values():
            for place in [place for place in task.copies if place[0] == sample_id]:
                del task.copies[place]
        self.deleted += 1
        self.updated = now

    def rename_label(self, old: str, new: str) -> None:
        """Rename a label; samples and proposals follow (contract 6.2)."""
        label = self.labels[old]
        # It keeps its place in the list.
        self.labels = {
            new if name == old else name: {**label, "name": new} if name == old else other
            for name, other in self.labels.items()
        }
        self._change_labels(
            lambda labels: [{**one, "name": new} if one.get("name") == old else one for one in labels], old
        )

    def remove_label(self, name: str) -> None:
        """Take a label out of the label set, out of samples and out of proposals."""
        del self.labels[name]
        self._change_labels(lambda labels: [one for one in labels if one.get("name") != name], name)

    def carriers(self, name: str) -> list[str]:
        """Return the ids of the samples that have this final label and no other."""
        return [one.sample_id for one in self.samples.values() if one.labels and set(names_of(one)) == {name}]

    def _change_labels(self, change: Callable[[Labels], Labels], name: str) -> None:
        """Change the labels of all samples and proposals that have a certain one."""
        for sample in self.samples.values():
            if name in names_of(sample):
                sample.labels = change(sample.labels)
                self.annotated -= not sample.labels
                sample.annotated_by = sample.annotated_by if sample.labels else ""
        kept = []
        for proposal in self.proposals:
            document = proposal.data()
            labels = document.get("labels") or []
            if any(isinstance(one, dict) and one.get("name") == name for one in labels):
                document["labels"] = change(labels)
                if not document["labels"]:
                    continue
                kept.append((proposal.sample_id, dump_json(document)))
            else:
                kept.append((proposal.sample_id, proposal.fragment))
        self.proposals.replace(kept)

    def taken_shortcuts(self, beside: Collection[str] = ()) -> set[str]:
        """Return the shortcuts of labels, but for some labels."""
        found = {
            (label.get("property") or {}).get("@modelarts:shortcut")
            for name, label in self.labels.items()
            if name not in beside
        }
        return {shortcut for shortcut in found if shortcut}

    def add_label(self, name: str, **further: Any) -> None:
        """Add a label to the label set, if it is not there.

        :param further: its other fields (contract 6.2); missing ones are made up.
        """
        if name not in self.labels:
            color = COLORS[len(self.labels) % len(COLORS)]
            made_up = {"name": name, "type": self.dataset_type, "property": {"@modelarts:color": color}}
            self.labels[name] = made_up | further

    def add_labels_of(self, labels: list[dict[str, Any]]) -> None:
        """Add the labels that a sample was given to the label set, each with its type."""
        for label in labels:
            if label.get("name"):
                self.add_label(label["name"], type=label.get("type", self.dataset_type))

    def stored(self, label: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is stored of a written label: name, type and property, no id and no score (contract 4.1).

        Entities keep their id: the relations of triplets name them by it (contract 3.3, `@modelarts:from`).
        """
        kind = label.get("type", self.dataset_type)
        return {
            **({"name": label["name"]} if label.get("name") else {}),
            "type": kind,
            **({"id": label["id"]} if kind == ENTITY and label.get("id") else {}),
            "property": label.get("property") or {},
        }

    def set_labels(self, sample: Sample, labels: list[dict[str, Any]], author: str, now: float) -> None:
        """Make labels final. Otherwise a sample's labels change only with the label set and with the version.

        Replaces the whole list; an empty one makes the sample unlabeled (contract 4.1, "Confirm with labels: []"). In
        both cases the sample leaves the auto list.
        """
        self.annotated += bool(labels) - bool(sample.labels)
        sample.labels = [self.stored(label) for label in labels]
        sample.annotated_by = author if labels else ""
        sample.time = int(now * 1000)
        self.updated = now
        self.proposals.discard(sample.sample_id)
