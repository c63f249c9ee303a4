"""The life of a labeling task as numbers: contract 2.3."""

from __future__ import annotations

from enum import IntEnum


class TaskState(IntEnum):
    """Status of a labeling task; the service may send numbers that are not listed here, and those stay numbers."""

    QUEUED = -1
    INITIALIZING = 0
    RUNNING = 1
    FAILED = 2
    SUCCEEDED = 3
    STOPPING = 4
    STOPPED = 5

    @property
    def is_terminal(self) -> bool:
        """Whether the labeling task is over and will not change any more."""
        return self in TERMINAL_STATES

    @classmethod
    def read(cls, number: object) -> TaskState | int | None:
        """Return the state for a number of the service.

        :param number: what the service sent as ``status``; a number written as text or as a float is accepted
        :return: the member; the bare integer if the contract does not list it (it is not terminal); None if it is no
            number at all
        """
        try:
            value = int(number)  # type: ignore[call-overload]
        except (TypeError, ValueError, OverflowError):
            return None
        return cls(value) if value in cls._value2member_map_ else value


TERMINAL_STATES = frozenset({TaskState.FAILED, TaskState.SUCCEEDED, TaskState.STOPPED})
ACTIVE_STATES = frozenset(TaskState) - TERMINAL_STATES


def is_terminal(state: TaskState | int | None) -> bool:
    """Whether a state, known or not, means that the labeling task is over; unknown ones never do (contract 2.3)."""
    return state in TERMINAL_STATES
