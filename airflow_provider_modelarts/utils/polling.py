"""Looks at a labeling task and waits for it: the same few lines in worker, sensor and trigger (B6, B7).

What an answer means, and when to look next, is decided in ``client/waiting.py``; here is who asks and who sleeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import AuthenticationError, ModelArtsError
from airflow_provider_modelarts.client.waiting import LONGEST, ODD_ANSWERS, Outcome
from airflow_provider_modelarts.hooks.errors import LabelTaskUnreadableError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from airflow_provider_modelarts.client.waiting import Wait
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

DEFERRAL_MARGIN = 300.0
"""Seconds by which Airflow's own limit of a deferral comes after the trigger's: it is for triggerers that are gone."""


def deadline_after(started: datetime | None, timeout: float, execution_timeout: timedelta | None) -> float:
    """Return the moment at which a wait gives up (B3).

    :param started: start of the try; None: now
    :param timeout: seconds that the wait may take; more than five years mean five years, for Airflow's database has to
        store when a deferral ends
    :param execution_timeout: Airflow's own limit of the task; the earlier one counts
    :return: epoch seconds; wall-clock time, because the deadline travels to other processes
    """
    now = system_clock.now()
    begin = now if started is None else min(now, started.timestamp())
    limits = [timeout, LONGEST, *([execution_timeout.total_seconds()] if execution_timeout else [])]
    return begin + min(limits)


def unreadable(what: str, error: ModelArtsError) -> ModelArtsError:
    """Return what a wait raises that gives up because the service refuses to tell about a labeling task of ours.

    A refused credential stays one: a retry would send it again.

    :param what: names the labeling task
    :param error: the last refusal
    """
    error_class = type(error) if isinstance(error, AuthenticationError) else LabelTaskUnreadableError
    return error_class(
        f"{what} may still be running and is no longer waited for: {ODD_ANSWERS} looks in a row were refused. Look at "
        f"it in the console. The last refusal: {error.message}",
        **error.details(),
    )


def poll_once(hook: ModelArtsHook, wait: Wait, log: Any) -> Outcome | float:
    """Ask once for the labeling task and tell the log what is new.

    One attempt, without retries: the wait itself is the retry (B6).

    :param hook: whose client to ask with
    :param wait: decides what the answer means
    :param log: logger of the Airflow task
    :return: how the wait ended, or the seconds until the next look
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


def poll_until_done(hook: ModelArtsHook, wait: Wait, log: Any, *, first_look: float) -> Outcome:
    """Wait in this thread until the labeling task is over or the deadline has come.

    Airflow's ``execution_timeout`` is one more way to say that the deadline has come: it ends the wait in the same way,
    after a last look, and not by an exception of its own.

    :param hook: whose client to ask with
    :param wait: decides when to look, and what an answer means
    :param log: logger of the Airflow task
    :param first_look: seconds until the first look
    :return: how the wait ended
    """
    step: Outcome | float = first_look
    while not isinstance(step, Outcome):
        try:
            system_clock.sleep(step)
            step = poll_once(hook, wait, log)
        except AirflowTaskTimeout:
            wait.deadline = min(wait.deadline, system_clock.now())
            step = 0.0
    return step
