"""The service's own words and numbers. A value that is not listed here stays as it came."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any, Self

from airflow_provider_modelarts.client.validation import as_number


class Number(IntEnum):
    """Numbers of the service that have a name."""

    @classmethod
    def read(cls, number: object) -> Self | int | None:
        """Return the member for a number of the service.

        :param number: what the service sent; a number written as text or as a float is accepted
        :return: the member; the bare integer if it is not listed; None if it is no number at all
        """
        value = as_number(number)
        if value is None:
            return None
        member = cls._value2member_map_.get(int(value))
        return int(value) if member is None else member  # type: ignore[return-value]  # it is one of this class


class Word(StrEnum):
    """Words of the service."""

    @classmethod
    def read(cls, word: str | None) -> Self | str | None:
        """Return the member for a word of the service, whatever its case; the word itself if it is not listed.

        :param word: what the service sent; None stays None
        """
        if word is None:
            return None
        return next((member for member in cls if member.value.lower() == word.lower()), word)


class State(Number):
    """Numbers that say how far something is; one that is not listed becomes a state, too, and can be asked the same."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """Make a state of a number that is not listed, so that it can be asked the same; its name is the number."""
        if type(value) is not int:
            return None
        unlisted = int.__new__(cls, value)
        unlisted._name_, unlisted._value_ = str(value), value
        return unlisted

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        """Pickle by the number: the first releases of Python 3.11 look for the name, which an unlisted one lacks."""
        return type(self), (self._value_,)

    @classmethod
    def read(cls, number: object) -> Self | None:
        """Return the state for a number of the service, also for one that is not listed; None if it is no number."""
        value = as_number(number)
        return None if value is None else cls(int(value))

    @property
    def is_known(self) -> bool:
        """Whether the contract lists it."""
        return self.name in type(self).__members__


class TaskState(State):
    """Status of a labeling task."""

    QUEUED = -1
    INITIALIZING = 0
    RUNNING = 1
    FAILED = 2
    SUCCEEDED = 3
    STOPPING = 4
    STOPPED = 5

    @property
    def is_terminal(self) -> bool:
        """Whether the labeling task is over; an unknown state never means that (contract 2.3)."""
        return self in TERMINAL_STATES


class DatasetStatus(Number):
    """Status of a dataset; only a normal one can be worked with."""

    CREATING = 0
    NORMAL = 1
    DELETING = 2
    DELETED = 3
    ERROR = 4
    SYNCHRONIZING = 5
    PUBLISHING = 6
    SWITCHING_VERSION = 7
    IMPORTING = 8


class DatasetType(Number):
    """What the samples of a dataset are labeled with."""

    IMAGE_CLASSIFICATION = 0
    OBJECT_DETECTION = 1
    IMAGE_SEGMENTATION = 3
    TEXT_CLASSIFICATION = 100
    NAMED_ENTITIES = 101
    TEXT_TRIPLETS = 102
    SOUND_CLASSIFICATION = 200
    SPEECH_CONTENT = 201
    SPEECH_SEGMENTS = 202
    TABLE = 400
    VIDEO = 600
    FREE_FORMAT = 900


class LabelType(Number):
    """What a label says of a sample."""

    IMAGE_CLASSIFICATION = 0
    OBJECT_DETECTION = 1
    IMAGE_SEGMENTATION = 3
    TEXT_CLASSIFICATION = 100
    NAMED_ENTITY = 101
    TRIPLET_RELATION = 102
    TRIPLET_ENTITY = 103
    SOUND_CLASSIFICATION = 200
    SPEECH_CONTENT = 201
    SPEECH_SEGMENTS = 202
    VIDEO = 600


class SampleType(Number):
    """What a sample is (contract 3.3)."""

    IMAGE = 0
    TEXT = 1
    SOUND = 2
    TABLE = 4
    VIDEO = 6
    FREE_FORMAT = 9


class TeamTaskState(State):
    """Status of a team task (contract 5.1)."""

    STARTING = 0
    RUNNING = 1
    IN_ACCEPTANCE = 2
    PASSED = 3
    REJECTED = 4
    SYNCHRONIZING = 5
    CREATED = 6
    SAMPLING = 7

    @property
    def is_terminal(self) -> bool:
        """Whether it is over: its results have passed. Rejected ones are labeled and reviewed again."""
        return self == TeamTaskState.PASSED

    @property
    def is_passing(self) -> bool:
        """Whether the service itself goes on to another state, without anybody's doing."""
        return self in (TeamTaskState.STARTING, TeamTaskState.SYNCHRONIZING, TeamTaskState.SAMPLING)


class AcceptanceAction(Number):
    """How an acceptance is ended (contract 5.2)."""

    PASS_ALL = 0
    REJECT_ALL = 1
    CANCEL = 2
    LIST_CONFLICTS = 3
    PASS_ACCEPTED_AND_UNJUDGED = 4
    PASS_ACCEPTED = 5


class WorkerRole(Number):
    """What a member of a team does."""

    LABELER = 0
    REVIEWER = 1
    MANAGER = 2
    DATASET_OWNER = 3


class WorkerStatus(Number):
    """How far a member of a team has come."""

    NOT_INVITED = 0
    INVITED = 1
    LOGGED_IN = 2
    DELETED = 3


class MailStatus(Number):
    """What became of the mail to a member of a team."""

    NOT_SENT = 0
    BAD_ADDRESS = 1
    UNREACHABLE = 2
    SENT = 3


class VersionStatus(Number):
    """Status of a published version; only a usable one can be worked with."""

    CREATING = 0
    USABLE = 1
    DELETING = 2
    DELETED = 3
    ERROR = 4

    @property
    def is_terminal(self) -> bool:
        """Whether its publication is over, well or badly."""
        return self is not VersionStatus.CREATING


class ImportState(Word):
    """Status of an import, and of a synchronization."""

    QUEUING = "QUEUING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    NOT_EXIST = "NOT_EXIST"

    @property
    def is_terminal(self) -> bool:
        """Whether it is over, or never was."""
        return self in (ImportState.COMPLETED, ImportState.FAILED, ImportState.NOT_EXIST)


class ExportState(Word):
    """Status of an export; the service writes SUCCESSED, and SUCCEEDED is read as the same."""

    INIT = "INIT"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCESSED"
    FAILED = "FAILED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"

    @property
    def is_terminal(self) -> bool:
        """Whether it is over."""
        return self in (ExportState.SUCCEEDED, ExportState.FAILED, ExportState.STOPPED)

    @classmethod
    def read(cls, word: str | None) -> Self | str | None:
        """Return the member for a word of the service; see :meth:`Word.read`."""
        return super().read("SUCCESSED" if word is not None and word.upper() == "SUCCEEDED" else word)


class TaskType(Word):
    """Kinds of labeling tasks."""

    AUTO_LABEL = "auto-label"
    PRE_LABEL = "pre-label"
    AUTO_GROUPING = "auto-grouping"


ALGORITHM_TYPES = ("fast", "accurate")


class EventStatus(Word):
    """How far a step of a labeling task is."""

    WAITING = "waiting"
    RUNNING = "running"
    FAILED = "failed"
    SUCCESS = "success"


class SampleState(Word):
    """States by which samples can be asked for; without one all samples are listed."""

    LABELED = "__ALL__"
    UNLABELED = "__NONE__"
    PROPOSED = "__AUTO_ANNOTATION__"
    AWAITING_ACCEPTANCE = "__UNCHECK__"
    ACCEPTED = "__ACCEPTED__"
    REJECTED = "__REJECTED__"
    AWAITING_REVIEW = "__UNREVIEWED__"
    REVIEWED = "__REVIEWED__"
    SAMPLED = "__WORKFORCE_SAMPLED__"
    SAMPLED_NOT_JUDGED = "__WORKFORCE_SAMPLED_UNCHECK__"
    SAMPLED_AND_JUDGED = "__WORKFORCE_SAMPLED_CHECKED__"
    SAMPLED_AND_ACCEPTED = "__WORKFORCE_SAMPLED_ACCEPTED__"
    SAMPLED_AND_REJECTED = "__WORKFORCE_SAMPLED_REJECTED__"


class SampleStatus(Word):
    """States that samples are seen to have."""

    UNLABELED = "UN_ANNOTATION"
    LABELED = "MANUAL_ANNOTATION"


class SampleUsage(Word):
    """What a sample is used for (contract 4.1, 6.7); manifests also write them in lower case."""

    TRAIN = "TRAIN"
    EVAL = "EVAL"
    TEST = "TEST"
    INFERENCE = "INFERENCE"


class Order(Word):
    """Orders of a list."""

    OLDEST_FIRST = "asc"
    NEWEST_FIRST = "desc"


TERMINAL_STATES = frozenset({TaskState.FAILED, TaskState.SUCCEEDED, TaskState.STOPPED})
ACTIVE_STATES = frozenset(TaskState) - TERMINAL_STATES


def is_terminal(state: TaskState | int | None) -> bool:
    """Whether a state, known or not, means that the labeling task is over; unknown ones never do (contract 2.3)."""
    return state in TERMINAL_STATES
