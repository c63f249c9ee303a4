"""The error tree and the code table against the contract's own list."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from airflow_provider_modelarts.client.error_codes import CODES, TOKEN_CODES, is_token_error, rule_for
from airflow_provider_modelarts.client.errors import (
    ERRORS,
    AuthenticationError,
    DatasetBusy,
    ForeignAnswer,
    InvalidRequest,
    ModelArtsError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    ServiceUnavailable,
    TaskAlreadyRunning,
    Throttled,
    UnexpectedResponse,
)
from airflow_provider_modelarts.client.requests.search import conditions_text
from airflow_provider_modelarts.client.sample_updates import emptied_elements, labeled_elements
from airflow_provider_modelarts.client.transport.session import HttpSession
from airflow_provider_modelarts.client.validation import Endpoint, validate_id
from tests.support.error_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

CONTRACT = Path(__file__).parents[2] / "docs" / "contract" / "modelarts-openapi.yaml"


@pytest.fixture(scope="module")
def listed() -> list[tuple[int, str, str]]:
    """(status, code, retry) of every row of both lists of the contract that is an error."""
    contract = yaml.load(CONTRACT.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    rows = [(row["http"], row["code"], row["retry"]) for row in contract["x-modelarts-error-codes"]]
    rows += [(row["http"], f"APIGW.{row['suffix']}", row["retry"]) for row in contract["x-gateway-error-codes"]]
    return [
        (int(status), code, retry)
        for statuses, code, retry in rows
        for status in statuses.split("/")
        if retry != "-" and int(status) >= 400
    ]


def test_every_code_that_the_contract_calls_retryable_is_not_permanent(listed: list[tuple[int, str, str]]) -> None:
    wrong = [
        (status, code) for status, code, retry in listed if retry == "yes" and rule_for(status, code).error.permanent
    ]
    assert wrong == []


def test_no_refusal_that_the_contract_calls_final_is_repeated(listed: list[tuple[int, str, str]]) -> None:
    wrong = [
        (status, code)
        for status, code, retry in listed
        if retry == "no" and status < 500 and not rule_for(status, code).error.permanent
    ]
    assert wrong == []


def test_token_codes_are_those_that_the_contract_marks(listed: list[tuple[int, str, str]]) -> None:
    marked = {code for _, code, retry in listed if retry == "token"}
    assert {code for code in TOKEN_CODES if not code.startswith("IAM.")} == marked
    assert all(is_token_error(status, code) for status, code, retry in listed if retry == "token")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (501, "ModelArts.4386", TaskAlreadyRunning),
        (501, "ModelArts.4387", TaskAlreadyRunning),
        (400, "ModelArts.4409", TaskAlreadyRunning),
        (501, "ModelArts.4383", PreconditionFailed),
        (400, "ModelArts.4352", NotFound),
        (400, "ModelArts.4700", NotFound),
        (503, "ModelArts.4700", ServiceUnavailable),
        (500, "ModelArts.4505", ServiceUnavailable),
        (401, "ModelArts.4505", AuthenticationError),
        (401, "ModelArts.4901", PermissionDenied),
        (400, "ModelArts.4381", DatasetBusy),
        (403, "ModelArts.4821", DatasetBusy),
        (500, "ModelArts.4354", PreconditionFailed),
        (403, "ModelArts.0210", PermissionDenied),
        (429, "ModelArts.4395", Throttled),
        (404, "APIG.0101", InvalidRequest),
        (404, None, NotFound),
        (418, None, InvalidRequest),
        (599, "Other.1", ServiceUnavailable),
    ],
)
def test_status_and_code_decide_together(status: int, code: str | None, expected: type[ModelArtsError]) -> None:
    assert rule_for(status, code).error is expected


def test_both_gateway_prefixes_mean_the_same() -> None:
    assert is_token_error(401, "APIG.0301")
    assert is_token_error(401, "APIGW.0301")
    assert is_token_error(401, None)
    assert not is_token_error(401, "APIGW.0303")
    assert not is_token_error(400, "APIGW.0301")


def test_the_text_is_one_line_with_code_and_request_id() -> None:
    error = NotFound("Cannot read\n dataset d.", status=400, code="ModelArts.4352", request_id="r1")
    assert str(error) == "Cannot read dataset d. (ModelArts.4352, HTTP 400, request id r1)"


@pytest.mark.parametrize("error_class", ERRORS.values())
def test_errors_survive_pickling(error_class: type[ModelArtsError]) -> None:
    error = error_class("m", status=429, code="c", request_id="r", method="GET", path="/p", retry_after=2.5, sent=False)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is error_class
    assert (copy.message, copy.details()) == (error.message, error.details())


def test_what_certainly_was_not_executed() -> None:
    assert ServiceUnavailable("no connection", sent=False).certainly_not_executed
    assert Throttled("slow down", status=429).certainly_not_executed
    assert NotFound("unknown", status=400).certainly_not_executed
    assert TaskAlreadyRunning("running", status=501).certainly_not_executed
    assert not ServiceUnavailable("reset").certainly_not_executed
    assert not ServiceUnavailable("down", status=503).certainly_not_executed
    assert not UnexpectedResponse("cut off", status=200).certainly_not_executed
    assert ForeignAnswer("a page", status=404).certainly_not_executed
    assert not ForeignAnswer("a page", status=408).certainly_not_executed
    assert not ForeignAnswer("a page", status=200).certainly_not_executed


def test_rows_name_codes_of_the_contract_or_of_iam(listed: list[tuple[int, str, str]]) -> None:
    known = {code for _, code, _ in listed}
    strange = {code for _, code in CODES if code not in known and not code.startswith("IAM.")}
    # 0116 is listed with a status that cannot be final (quirk 27), the others as texts about a task
    assert strange == {"ModelArts.0116", "ModelArts.4901", "ModelArts.4961", "ModelArts.4964"}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Endpoint("my host"), "is no http(s) address, 'my host'"),
        (lambda: Endpoint("ftp://host"), "is no http(s) address, 'ftp://host'"),
        (lambda: Endpoint("https://host:99999"), "is no address, 'https://host:99999'"),
        (lambda: validate_id("dataset_id", 7), "must be an id as text, not 7"),
        (lambda: validate_id("dataset_id", None), "must be an id as text, not None"),
        (lambda: conditions_text("{no", "list samples"), "the text given is no JSON, not '{no'"),
        (lambda: conditions_text(3, "list samples"), "not 3"),
        (lambda: HttpSession((1, 2, 3)), "not (1, 2, 3)"),  # type: ignore[arg-type]
        (lambda: emptied_elements("s1"), "must be a list of ids, not 's1'"),
        (lambda: labeled_elements("s1"), "must be a list of samples, not 's1'"),
        (lambda: labeled_elements([3]), "not 3"),
        (lambda: labeled_elements([{"sample_id": "s", "labels": ["daisy"]}]), "not 'daisy'"),
        (lambda: validate_id("dataset_id", ["x" * 1000]), "..."),
    ],
)
def test_a_refusal_quotes_the_wrong_value(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        call()
    assert said in one_line(caught.value)
    assert len(one_line(caught.value)) < 300


@pytest.mark.parametrize(
    "address",
    [
        "https://user:sentinel",
        "https://user:sentinel@ho st",
        "ftp://user:sentinel@host",
        "user:sentinel",
        "https://host/?key=sentinel",
        "https://host/#sentinel",
        "https://host:sentinel/",
        "https://[::1:sentinel",
    ],
)
def test_an_address_that_may_hold_a_secret_is_not_quoted(address: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Endpoint(address)
    assert "sentinel" not in one_line(caught.value)


def test_a_wrong_value_is_quoted_without_signatures() -> None:
    with pytest.raises(InvalidRequest) as caught:
        labeled_elements('[{"source": "https://b.example.com/a.jpg?Signature=SIG"}]')  # type: ignore[arg-type]
    assert "SIG" not in one_line(caught.value)
