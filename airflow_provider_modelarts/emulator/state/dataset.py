"""Datasets and their samples, as the service keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.state.proposals import ProposalBook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.emulator.api.teams import TeamTask
    from airflow_provider_modelarts.emulator.data.images import ImageSource
    from airflow_provider_modelarts.emulator.state.task import Failure, Task

STORED_LABEL_KEYS = ("name", "type", "property")
COLORS = ("#3399ff", "#93c47d", "#f1c232", "#e06666", "#8e7cc3", "#76a5af", "#f6b26b", "#6fa8dc")

NORMAL, SYNCHRONIZING, PUBLISHING, SWITCHING, IMPORTING = 1, 5, 6, 7, 8  # contract 6.1, dataset status

# Label type of each dataset type: the same number (contract 6.1).
DETECTION = 1


class Sample:
    """One image and its final labels.

    :param key: object key in the dataset's bucket.
    :param size: width, height and depth.
    :param image: index into the dataset's images; None: there is no picture.
    :param truth: what the image really shows, for those who may know it; None: unknown.
    """

    __slots__ = ("annotated_by", "image", "key", "labels", "metadata", "sample_id", "size", "time", "truth", "usage")

    def __init__(
        self,
        sample_id: str,
        key: str,
        *,
        time: int,
        size: tuple[int, int, int] = (64, 64, 3),
        image: int | None = None,
        truth: Any = None,
    ) -> None:
        self.sample_id = sample_id
        self.key = key
        self.time = time
        self.size = size
        self.image = image
        self.truth = truth
        self.labels: list[dict[str, Any]] = []
        self.annotated_by = ""
        self.metadata: dict[str, Any] | None = None
        self.usage: str | None = None


def names_of(sample: Sample) -> list[str]:
    """Return the names of a sample's final labels, each once; labels of speech have none."""
    return list(dict.fromkeys(label["name"] for label in sample.labels if "name" in label))


@dataclass(eq=False)
class Dataset:
    """One dataset.

    :param dataset_type: 0 image classification, 1 object detection ... (contract 6.1).
    :param status: 1 normal, 6 publishing ... (contract 6.1); tests set it.
    :param failures: taken by the next tasks that start, first come first served.
    :param encrypted: data lies in a KMS-encrypted bucket (contract 8.1).
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
    book: ProposalBook = field(default_factory=ProposalBook)
    tasks: dict[str, Task] = field(default_factory=dict)
    team_tasks: dict[str, TeamTask] = field(default_factory=dict)
    started_tasks: int = 0
    failures: list[Failure] = field(default_factory=list)
    annotated: int = 0
    updated: float = 0.0

    def add_label(self, name: str, **further: Any) -> None:
        """Add a label to the label set, if it is not there.

        :param further: fields of it (contract 6.2); those that are missing are made up.
        """
        if name not in self.labels:
            color = COLORS[len(self.labels) % len(COLORS)]
            made_up = {"name": name, "type": self.dataset_type, "property": {"@modelarts:color": color}}
            self.labels[name] = made_up | further

    def stored(self, label: Mapping[str, Any]) -> dict[str, Any]:
        """Return what remains of a written label: name, type and property.

        Contract 4.1, "Effects after success": stored labels carry no id and no score.
        """
        return {
            **({"name": label["name"]} if label.get("name") else {}),
            "type": label.get("type", self.dataset_type),
            "property": label.get("property") or {},
        }

    def set_labels(self, sample: Sample, labels: list[dict[str, Any]], author: str, now: float) -> None:
        """Make labels final: the one place where a sample's labels change.

        Replaces the whole list; none makes the sample unlabeled and discards its proposal (contract 4.1,
        "Confirm with labels: []"). The sample leaves the auto list, the counters follow.
        """
        self.annotated += bool(labels) - bool(sample.labels)
        sample.labels = [self.stored(label) for label in labels]
        sample.annotated_by = author if labels else ""
        sample.time = int(now * 1000)
        self.updated = now
        self.book.discard(sample.sample_id)

    @property
    def unconfirmed(self) -> int:
        """How many samples await confirmation."""
        return len(self.book)
