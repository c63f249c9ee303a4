"""Whether a labeling task could start on a dataset: all conditions of contract 8.1 that can be read, at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import DatasetBusy, PreconditionFailed
from airflow_provider_modelarts.client.redaction import short_line
from airflow_provider_modelarts.client.states import DatasetStatus, DatasetType
from airflow_provider_modelarts.client.wording import first_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.datasets import Dataset
    from airflow_provider_modelarts.client.resources.samples import Sample

LEAST_LABELS = 2
LEAST_IMAGES = 5
"""How many labels there must be, and on how many images each of them."""

_TYPES = (DatasetType.IMAGE_CLASSIFICATION, DatasetType.OBJECT_DETECTION)
_FOUR_CHANNELS = 4
_SIZE, _SHAPE, _BOX = "@modelarts:size", "@modelarts:shape", "bndbox"
# The list must fit into an XCom (B19).
_MOST_NAMES, _LONGEST_NAME = 10, 60

# One page of the list, newest first; an older labeling task is not active any more.
_NEWEST_TASKS = 100

# A dataset in one of these stays so; in any other, a retry may find it normal.
_BROKEN = (DatasetStatus.DELETING, DatasetStatus.DELETED, DatasetStatus.ERROR)
_TO_LABEL, _RARE = "unlabeled_images", "images_per_label"


@dataclass(frozen=True)
class PreconditionCheck:
    """One condition.

    :param name: of the condition
    :param met: whether it is met; None: not known
    :param text: one line for people
    :param may_pass: whether a retry may find it met
    """

    name: str
    met: bool | None
    text: str
    may_pass: bool = False


@dataclass(frozen=True)
class PreconditionReport:
    """All conditions of one dataset."""

    dataset_id: str
    checks: tuple[PreconditionCheck, ...]

    @property
    def unmet(self) -> list[PreconditionCheck]:
        """The conditions that are not met."""
        return [check for check in self.checks if check.met is False]

    @property
    def ready(self) -> bool:
        """Whether nothing that can be read stands against a labeling task."""
        return not self.unmet

    @property
    def is_only_done(self) -> bool:
        """Whether nothing stands against it but that there is nothing to label; a rare label does no harm then."""
        names = {check.name for check in self.unmet}
        return _TO_LABEL in names and names <= {_TO_LABEL, _RARE}

    def __str__(self) -> str:
        return "\n".join((f"Can dataset {self.dataset_id} be labeled by machine?", *self._lines()))

    def to_markdown(self) -> str:
        """Return the list for people."""
        return "\n".join((f"Dataset `{self.dataset_id}`:\n", *self._lines()))

    def to_xcom(self) -> dict[str, Any]:
        """Return the small result: ``ready, unmet, checks``."""
        checks = [{"name": check.name, "met": check.met, "text": check.text} for check in self.checks]
        return {"ready": self.ready, "unmet": [check.name for check in self.unmet], "checks": checks}

    def refusal(self) -> str:
        """Return in one line what is not met."""
        return f"Dataset {self.dataset_id} cannot be labeled by machine now: {' '.join(c.text for c in self.unmet)}"

    def error(self) -> DatasetBusy | PreconditionFailed:
        """Return the error for what is not met."""
        is_passing = all(check.may_pass for check in self.unmet)
        return (DatasetBusy if is_passing else PreconditionFailed)(self.refusal())

    def _lines(self) -> Iterable[str]:
        words = {True: "yes", False: "NO", None: "not known"}
        return (f"- {words[check.met]}: {check.text}" for check in self.checks)


def check_preconditions(
    client: ModelArtsClient, dataset_id: str, *, task_type: str = "auto-label", check_images: bool = True
) -> PreconditionReport:
    """Return which conditions of a labeling task a dataset meets (contract 8.1). It changes nothing.

    Not checked, as the service does not tell: the encryption of the bucket, and the agency.

    :param client: reads dataset, statistics, labeling tasks and samples
    :param dataset_id: the dataset
    :param task_type: the kind that must not be active already
    :param check_images: also walk the list of samples, 100 in a request, for images with four channels, and for object
        detection for other shapes than boxes
    :raises NotFound: if the service does not know the dataset
    """
    dataset = client.datasets.get(dataset_id)
    counts = {
        label.name: label.sample_count or 0 for label in client.datasets.stats(dataset_id).labels if label.sample_count
    }
    newest = islice(client.tasks.list(dataset_id, task_type=task_type), _NEWEST_TASKS)
    active = [str(task.task_id) for task in newest if not task.is_terminal]
    checks = (_type(dataset), _not_busy(dataset), _no_running_task(active, task_type), *_labels(counts))
    images = _images(dataset, client.samples.list(dataset_id)) if check_images else ()
    return PreconditionReport(dataset_id, (*checks, _unlabeled(dataset), *images))


def _type(dataset: Dataset) -> PreconditionCheck:
    kind = dataset.dataset_type
    word = kind.name.lower().replace("_", " ") if isinstance(kind, DatasetType) else f"of type {kind}"
    return PreconditionCheck(
        "type", kind in _TYPES, f"the dataset is {word}; image classification and object detection can be labeled."
    )


def _not_busy(dataset: Dataset) -> PreconditionCheck:
    status = dataset.status
    word = status.name.lower().replace("_", " ") if isinstance(status, DatasetStatus) else f"status {status}"
    text = f"the dataset's status is {word}; it must be normal."
    return PreconditionCheck("not_busy", dataset.is_normal, text, may_pass=status not in _BROKEN)


def _no_running_task(active: list[str], task_type: str) -> PreconditionCheck:
    text = f"labeling task {', '.join(active)} runs." if active else f"no {task_type} task runs."
    return PreconditionCheck("no_running_task", not active, text, may_pass=True)


def _labels(counts: dict[str, int]) -> tuple[PreconditionCheck, ...]:
    rare = sorted(
        f"{short_line(name, _LONGEST_NAME)} ({count})" for name, count in counts.items() if count < LEAST_IMAGES
    )
    few = f"too few images have {first_of(rare, _MOST_NAMES)}" if rare else "each of them is on enough images"
    return (
        PreconditionCheck(
            "labels", len(counts) >= LEAST_LABELS, f"{len(counts)} labels are given; {LEAST_LABELS} are needed."
        ),
        PreconditionCheck(
            _RARE,
            not rare and bool(counts),
            f"{few if counts else 'no image has a label'}; {LEAST_IMAGES} are needed for each label.",
        ),
    )


def _unlabeled(dataset: Dataset) -> PreconditionCheck:
    total, labeled = dataset.total_sample_count, dataset.annotated_sample_count
    return PreconditionCheck(
        _TO_LABEL, total > labeled, f"{total - labeled} of {total} images have no label; that is what is labeled."
    )


def _images(dataset: Dataset, samples: Iterable[Sample]) -> tuple[PreconditionCheck, ...]:
    """Return what the list of samples tells about sizes and shapes."""
    is_detection = dataset.dataset_type == DatasetType.OBJECT_DETECTION
    four: list[str] = []
    other: list[str] = []
    known = 0
    for sample in samples:
        size = sample.metadata.get(_SIZE)
        if isinstance(size, (list, tuple)) and size:
            known += 1
            if len(size) > 2 and size[2] == _FOUR_CHANNELS:
                four.append(sample.sample_id)
        if is_detection and any(label.property.get(_SHAPE, _BOX) != _BOX for label in sample.labels):
            other.append(sample.sample_id)
    found = (
        PreconditionCheck(
            "three_channels",
            False if four else True if known else None,
            f"{len(four)} images have four channels ({first_of(four, _MOST_NAMES)}): convert them, or the labeling "
            "task fails."
            if four
            else f"no image of the {known} whose size is known has four channels.",
        ),
    )
    if not is_detection:
        return found
    shapes = f"{len(other)} images have other shapes than boxes ({first_of(other, _MOST_NAMES)})."
    text = shapes if other else "all shapes are boxes."
    return (*found, PreconditionCheck("boxes_only", not other, text))
