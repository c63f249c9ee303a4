"""Polls and stops a labeling task, the same way in operator, sensor and trigger (B6, B7).

``client/poll_schedule.py`` says when to poll next, ``client/waiting.py`` what an answer means; the functions here ask
and sleep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import AuthenticationError, ModelArtsError
from airflow_provider_modelarts.client.poll_schedule import LONGEST, ODD_ANSWERS
from airflow_provider_modelarts.client.waiting import Outcome
from airflow_provider_modelarts.hooks.errors import LabelTaskUnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime, timedelta

    from airflow_provider_modelarts.client.poll_schedule import PollSchedule
    from airflow_provider_modelarts.client.waiting import Wait
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

Ended = TypeVar("Ended")

DEFERRAL_MARGIN = 300.0
"""Seconds by which Airflow's own limit of a deferral comes after the trigger's deadline: it is for lost triggerers."""


SEARCH_PAUSES = (0.0, 5.0, 10.0, 20.0)
"""Seconds before each search for what is not listed yet: its start got no reply, or it is in the way."""


def paused(pauses: Iterable[float]) -> Iterator[None]:
    """Yield after each pause; a pause of 0 does not sleep."""
    for seconds in pauses:
        if seconds:
            system_clock.sleep(seconds)
        yield


def deadline_after(started: datetime | None, timeout: float, execution_timeout: timedelta | None) -> float:
    """Return the moment at which a wait gives up, in epoch seconds: the deadline travels to other processes (B3).

    :param started: start of the try; None: now
    :param timeout: seconds that the wait may take; cut to five years, as Airflow's database stores the deferral's end
    :param execution_timeout: Airflow's own limit of the task; the earlier one counts
    """
    now = system_clock.now()
    begin = now if started is None else min(now, started.timestamp())
    limits = [timeout, LONGEST, *([execution_timeout.total_seconds()] if execution_timeout else [])]
    return begin + min(limits)


def unreadable(what: str, error: ModelArtsError) -> ModelArtsError:
    """Return the error of a wait that gives up because the service refuses several polls in a row.

    A refused credential keeps its class: a retry would send it again.
    """
    error_class = type(error) if isinstance(error, AuthenticationError) else LabelTaskUnreadableError
    return error_class(
        f"{what} may still be running and is no longer waited for: {ODD_ANSWERS} requests in a row were refused. "
        f"Check it in the console. The last refusal: {error.message}",
        **error.details(),
    )


def poll_once(hook: ModelArtsHook, wait: Wait, log: Any) -> Outcome | float:
    """Send one request, without retries: the wait itself is the retry (B6).

    :return: how the wait ended, or the seconds until the next poll
    """
    try:
        task = hook.client.tasks.get(wait.dataset_id, wait.label_task_id, retry=False)
    except ModelArtsError as error:
        step = wait.on_error(error, system_clock.now())
        if not isinstance(step, Outcome):
            log.warning("The state of the labeling task is unknown for now; asking again in %.0f s. %s", step, error)
        return step
    line = wait.progress(task)
    if line:
        log.info("%s", line)
    return wait.on_answer(task, system_clock.now())


def poll_until_done(hook: ModelArtsHook, wait: Wait, log: Any, *, delay: float) -> Outcome:
    """Poll in this thread until the labeling task is over or the deadline has come.

    Airflow's ``execution_timeout`` counts as the deadline: the wait ends after a last poll, not by that exception.

    :param delay: seconds until the first poll
    """
    return wait_in_worker(wait, lambda: poll_once(hook, wait, log), delay=delay)


def wait_in_worker(schedule: PollSchedule, poll: Callable[[], Ended | float], *, delay: float) -> Ended:
    """Poll in this thread until a poll says how the wait ended; ``execution_timeout`` is one more deadline.

    :param schedule: its deadline becomes the moment of that alarm
    :param poll: returns how the wait ended, or the seconds until the next poll
    :param delay: seconds until the first poll
    """
    step: Ended | float = delay
    while isinstance(step, (float, int)):
        try:
            system_clock.sleep(step)
            step = poll()
        except AirflowTaskTimeout:
            schedule.deadline = min(schedule.deadline, system_clock.now())
            step = 0.0
    return step


def stop_or_warn(hook: ModelArtsHook, dataset_id: str, label_task_id: str, log: Any, *, reason: str) -> None:
    """Stop a labeling task with the connection as it is now; a failure is only logged: the reason matters more."""
    try:
        hook.look_afresh().client.tasks.stop(dataset_id, label_task_id)
    except ModelArtsError as error:
        log.warning(
            "Labeling task %s of dataset %s could not be stopped; stop it in the console. %s",
            label_task_id,
            dataset_id,
            error,
        )
    else:
        log.info("Stopped labeling task %s: %s.", label_task_id, reason)
