"""Base class of the triggers that wait for the end of one thing."""

from __future__ import annotations

import json
from datetime import timedelta

from airflow.triggers.base import BaseTrigger

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.utils.polling import DEFERRAL_MARGIN


class WaitTrigger(BaseTrigger):
    """A trigger that waits until a deadline.

    :param deadline: epoch seconds at which the wait gives up; wall-clock time, so that it survives a restart
    """

    def __init__(self, deadline: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        self.deadline = deadline

    def prove_serializable(self) -> None:
        """Send the parameters through JSON and back, as a deferral will.

        Called before anything is started: a parameter that fails at defer time would orphan it (B2).

        :raises TypeError: if a parameter is no JSON primitive, or comes back as another value
        """
        kwargs = self.serialize()[1]
        copy = json.loads(json.dumps(kwargs))
        if type(self)(**copy).serialize()[1] != kwargs:
            raise TypeError(f"{type(self).__name__} cannot be stored: {copy} is what comes back of {kwargs}")

    def deferral_timeout(self) -> timedelta:
        """Return Airflow's own limit of the deferral, which comes after the deadline."""
        return timedelta(seconds=max(self.deadline - system_clock.now(), 0) + DEFERRAL_MARGIN)
