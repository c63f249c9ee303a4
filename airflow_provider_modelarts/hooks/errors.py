"""The one place where the client's errors become Airflow's."""

# ruff: noqa: N818 - failed and timeout are words of the service, as in client/errors.py

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.client.errors import ModelArtsError

if TYPE_CHECKING:
    from collections.abc import Iterator


log = logging.getLogger(__name__)


class ParameterError(ValueError):
    """A parameter of an operator or sensor has a value that makes no sense; the text names it."""


class ConnectionUnknownError(ModelArtsError):
    """Airflow does not know the connection, or could not read it.

    Worth a retry: Airflow reports a secrets backend that is down for a moment in the same way.
    """

    permanent = False


class LabelTaskUnreadableError(ModelArtsError):
    """The service has refused several looks in a row at a labeling task that the Airflow task has started.

    Worth a retry: the labeling task was there, and the next try looks for it again.
    """

    permanent = False


class ServiceJobFailed(ModelArtsError):
    """A job of the service, such as an import or a publication, ended as failed; a retry starts another."""

    permanent = False


class ServiceJobTimeout(ModelArtsError):
    """A job of the service was not over at the deadline. It goes on, and a retry waits for it."""

    permanent = False


class ServiceJobUnreadableError(ModelArtsError):
    """The service has refused several looks in a row at a job of the Airflow task; a retry looks again."""

    permanent = False


class ServiceJobUnknownError(ModelArtsError):
    """A job was started, and the service does not show it yet; a retry looks again before it starts anything."""

    permanent = False


class ServiceJobsUnclearError(ModelArtsError):
    """Several jobs may be the one that an earlier try started, and nothing tells which."""


@contextmanager
def permanent_errors_fail_at_once() -> Iterator[None]:
    """Turn an error that no retry can mend into ``AirflowFailException``; let all others pass.

    Works around a block and as a decorator. A hundred mapped tasks with three retries must not lock the user out by
    sending a wrong password four hundred times.

    The original is not chained: its line, which has all that is known, and its class are the text, and its traceback
    would push that line out of sight. The line is logged before Airflow adds its own traceback; the original's
    traceback is logged at debug level.

    :raises AirflowFailException: with the original's one line and its class
    """
    try:
        yield
    except (ModelArtsError, ParameterError) as error:
        if isinstance(error, ModelArtsError) and not error.permanent:
            raise
        line = f"{' '.join(str(error).split())} [{type(error).__name__}]"
        log.debug("What failed, in full:", exc_info=error)
        log.error("%s", line)  # noqa: TRY400 - the traceback is what hides the line
        raise AirflowFailException(line) from None
