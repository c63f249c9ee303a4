"""Datasets and their samples, as the service keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.state.proposals import ProposalList

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.emulator.data.images import ImageSource
    from airflow_provider_modelarts.emulator.state.task import Failure, Task
    from airflow_provider_modelarts.emulator.state.team import TeamTask

COLORS = ("#3399ff", "#93c47d", "#f1c232", "#e06666", "#8e7cc3", "#76a5af", "#f6b26b", "#6fa8dc")
NORMAL, PUBLISHING = 1, 6  # contract 6.1, dataset status
DETECTION = 1  # type of datasets and of their labels (contract 6.1)


@dataclass(slots=True, eq=False)
class Sample:
    """One image and its final labels.

    :param key: object key in the dataset's bucket.
    :param time: epoch milliseconds.
    :param size: width, height and depth.
    :param image: index into the dataset's images; None: there is no picture.
    :param truth: what the image really shows, for those who may know it; None: unknown.
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


def names_of(sample: Sample) -> list[str]:
    """Return the names of a sample's final labels, each once; labels of speech have none."""
    return list(dict.fromkeys(label["name"] for label in sample.labels if "name" in label))


@dataclass(eq=False)
class Dataset:
    """One dataset.

    :param dataset_type: 0 image classification, 1 object detection ... (contract 6.1).
    :param status: 1 normal, 6 publishing ... (contract 6.1); tests set it.
    :param encrypted: the data are in a KMS-encrypted bucket (contract 8.1).
    :param proposals: the samples that await confirmation.
    :param failures: taken by the next tasks that start, first come first served.
    """

    dataset_id: str
    name: str
    dataset_type: int
    created: float
    bucket: str
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

    def add_label(self, name: str, **further: Any) -> None:
        """Add a label to the label set, if it is not there.

        :param further: its other fields (contract 6.2); missing ones are made up.
        """
        if name not in self.labels:
            color = COLORS[len(self.labels) % len(COLORS)]
            made_up = {"name": name, "type": self.dataset_type, "property": {"@modelarts:color": color}}
            self.labels[name] = made_up | further

    def stored(self, label: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is stored of a written label: name, type and property, no id and no score (contract 4.1)."""
        return {
            **({"name": label["name"]} if label.get("name") else {}),
            "type": label.get("type", self.dataset_type),
            "property": label.get("property") or {},
        }

    def set_labels(self, sample: Sample, labels: list[dict[str, Any]], author: str, now: float) -> None:
        """Make labels final. This is the one place where a sample's labels change.

        Replaces the whole list; an empty one makes the sample unlabeled (contract 4.1, "Confirm with labels: []"). In
        both cases the sample leaves the auto list.
        """
        self.annotated += bool(labels) - bool(sample.labels)
        sample.labels = [self.stored(label) for label in labels]
        sample.annotated_by = author if labels else ""
        sample.time = int(now * 1000)
        self.updated = now
        self.proposals.discard(sample.sample_id)
