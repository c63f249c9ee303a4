"""Which errors fail an Airflow task at once, and which leave it its retries."""

from __future__ import annotations

import logging
import traceback

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.client.errors import AuthenticationError, InvalidRequest, NotFound, ServiceUnavailable
from airflow_provider_modelarts.hooks.errors import (
    ConnectionUnknownError,
    ParameterError,
    permanent_errors_fail_at_once,
)


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("no"),
        NotFound("no", status=400, code="ModelArts.4352"),
        InvalidRequest("no"),
        ParameterError("no"),
    ],
)
def test_what_no_retry_can_mend_fails_at_once_with_one_line_and_one_traceback(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AirflowFailException) as raised, permanent_errors_fail_at_once():
        raise error
    line = f"{error} [{type(error).__name__}]"
    assert str(raised.value) == line
    text = "".join(traceback.format_exception(raised.value))
    assert text.count("Traceback") == text.count(line) == 1
    *_, last = caplog.records
    assert (last.getMessage(), last.levelname, last.exc_info) == (line, "ERROR", None)
    assert [record.levelname for record in caplog.records if record.exc_info] == ["DEBUG"]


@pytest.mark.parametrize("error", [ServiceUnavailable("busy"), ConnectionUnknownError("?"), KeyError("a bug")])
def test_everything_else_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, permanent_errors_fail_at_once():
        raise error
    assert raised.value is error
