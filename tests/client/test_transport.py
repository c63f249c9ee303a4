"""One call under faults: what is repeated, what never is, and what the errors say. B9, B12, contract 7."""

from __future__ import annotations

import json
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import ClientSettings, ModelArtsClient
from airflow_provider_modelarts.client.errors import (
    DatasetBusy,
    ForeignAnswer,
    InvalidRequest,
    ModelArtsError,
    PermissionDenied,
    PreconditionFailed,
    ServiceUnavailable,
    StartUnknown,
    TaskAlreadyRunning,
    Throttled,
)
from airflow_provider_modelarts.client.transport.session import HttpSession
from tests.support.error_text import one_line

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import PasswordCredentials
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


@pytest.mark.parametrize("fault", ["reset", "reset_after", "truncated"])
def test_a_read_survives_a_broken_connection(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock, fault: str
) -> None:
    rule = emulator.faults.add("GET", dataset_id, fault, times=3)
    assert client.datasets.get(dataset_id).dataset_id == dataset_id
    assert rule.fired == 3


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_read_is_tried_six_times_with_growing_pauses(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock, status: int
) -> None:
    rule = emulator.faults.add("GET", dataset_id, "status", status=status, times=None)
    with pytest.raises(ServiceUnavailable):
        client.datasets.get(dataset_id)
    assert rule.fired == 6
    assert len(moved_clock.slept) == 5
    assert all(0.75 * 2**n <= pause <= 1.25 * 2**n for n, pause in enumerate(moved_clock.slept))


def test_callers_that_failed_together_do_not_come_back_together(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    emulator.faults.add("GET", dataset_id, "status", status=503, times=None)
    for _ in range(4):
        with pytest.raises(ServiceUnavailable):
            client.datasets.get(dataset_id)
    assert len(set(moved_clock.slept[::5])) == 4


def test_a_poll_is_one_attempt(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    rule = emulator.faults.add("GET", "/tasks/t", "status", status=503, times=None)
    with pytest.raises(ServiceUnavailable):
        client.tasks.get(dataset_id, "t", retry=False)
    assert rule.fired == 1


def test_a_client_without_retries_sends_once(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    rule = emulator.faults.add("GET", dataset_id, "reset", times=None)
    with client.detached() as detached, pytest.raises(ServiceUnavailable):
        detached.datasets.get(dataset_id)
    assert rule.fired == 1


@pytest.mark.parametrize("status", [501, 400, 403, 404, 409])
def test_refusals_are_not_repeated(client: ModelArtsClient, emulator: Emulator, dataset_id: str, status: int) -> None:
    rule = emulator.faults.add("GET", dataset_id, "status", status=status, times=None)
    with pytest.raises(ModelArtsError) as caught:
        client.datasets.get(dataset_id)
    assert caught.value.permanent
    assert rule.fired == 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_kept(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock, status: int
) -> None:
    emulator.faults.add("GET", dataset_id, "status", status=status, headers={"Retry-After": "17"}, times=2)
    client.datasets.get(dataset_id)
    assert moved_clock.slept == [17, 17]


def test_every_answer_that_asks_for_fewer_requests_is_counted(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    emulator.faults.add("GET", dataset_id, "status", status=429, times=2)
    client.datasets.get(dataset_id)
    assert client.throttled == 2
    emulator.faults.add("GET", dataset_id, "status", status=503, times=1)
    client.datasets.get(dataset_id)
    assert client.throttled == 2


def test_retry_after_as_a_date_is_kept(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    date = formatdate(moved_clock.now() + 40, usegmt=True)
    emulator.faults.add("GET", dataset_id, "status", status=429, headers={"Retry-After": date})
    client.datasets.get(dataset_id)
    assert moved_clock.slept == [pytest.approx(40, abs=1.1)]


def test_a_long_retry_after_is_left_to_the_caller(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    emulator.faults.add("GET", dataset_id, "status", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(Throttled) as caught:
        client.datasets.get(dataset_id)
    assert caught.value.retry_after == 3600
    assert moved_clock.slept == []


def test_a_rate_limit_slows_a_list_down_but_does_not_break_it(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    emulator.variants.rate_limit = (2, 10)
    assert len(list(client.proposals.list(dataset_id))) == 250
    assert moved_clock.slept


@pytest.mark.parametrize(
    ("fault", "args"),
    [("reset_after", {}), ("reset", {}), ("truncated", {}), ("html", {"status": 502}), ("status", {"status": 500}),
     ("status", {"status": 200, "body": "{}"}), ("status", {"status": 200, "body": ""})],
)  # fmt: skip
def test_a_start_whose_reply_is_lost_is_unknown_and_never_repeated(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, fault: str, args: dict[str, Any]
) -> None:
    dataset_id = emulator.load_digits(labeled=100)
    emulator.faults.add("POST", "/tasks", fault, match=lambda call: "auth" not in call.path, **args)
    with pytest.raises(StartUnknown) as caught:
        client.tasks.start(dataset_id)
    assert dataset_id in one_line(caught.value)
    assert not caught.value.permanent
    assert emulator.journal.count("POST", "/datasets/") == 1


def test_a_start_that_is_throttled_is_repeated(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id = emulator.load_digits(labeled=100)
    rule = emulator.faults.add("POST", "/tasks", "status", status=429, code="ModelArts.4395",
                               match=lambda call: "auth" not in call.path)  # fmt: skip
    assert client.tasks.start(dataset_id)
    assert rule.fired == 1
    assert len(list(client.tasks.list(dataset_id))) == 1


@pytest.mark.parametrize(
    ("fault", "args"),
    [("reset_after", {}), ("reset", {}), ("truncated", {}), ("html", {"status": 502}), ("status", {"status": 503}),
     ("status", {"status": 200, "body": "<html>login</html>"})],
)  # fmt: skip
def test_a_label_write_that_may_have_happened_is_not_repeated_but_unknown(
    client: ModelArtsClient,
    emulator: Emulator,
    dataset_id: str,
    moved_clock: MovedClock,
    fault: str,
    args: dict[str, Any],
) -> None:
    samples = client.proposals.page(dataset_id, 0, limit=3).items
    emulator.faults.add("PUT", dataset_id, fault, **args)
    outcomes = client.samples.update(dataset_id, samples)
    assert [(outcome.sample_id, outcome.ok) for outcome in outcomes] == [(one.sample_id, None) for one in samples]
    assert all(outcome.error_msg for outcome in outcomes)
    assert emulator.journal.count("PUT") == 1


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ModelArts.4381", DatasetBusy),
        (403, "ModelArts.0108", PermissionDenied),
        (400, "ModelArts.4105", InvalidRequest),
    ],
)
def test_a_label_write_that_was_refused_raises(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, status: int, code: str, expected: type[ModelArtsError]
) -> None:
    sample = client.proposals.page(dataset_id, 0, limit=1).items[0]
    emulator.faults.add("PUT", dataset_id, "status", status=status, code=code)
    with pytest.raises(expected) as caught:
        client.samples.update(dataset_id, [sample])
    assert caught.value.certainly_not_executed
    assert emulator.journal.count("PUT") == 1


def test_a_redirect_is_refused(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    emulator.faults.add(
        "GET", dataset_id, "status", status=302, headers={"Location": f"{emulator.url}/elsewhere?ticket=SECRET"}
    )
    with pytest.raises(ForeignAnswer, match="redirect") as caught:
        client.datasets.get(dataset_id)
    assert "SECRET" not in str(caught.value)
    assert emulator.journal.count("GET", "elsewhere") == 0
    assert emulator.journal.count("GET") == 1


@pytest.mark.wrong_requests  # no sample has such an id
def test_reads_have_no_body_and_ids_stay_in_their_segment(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str
) -> None:
    with pytest.raises(ModelArtsError):
        client.samples.get(dataset_id, "../../tasks?x=1#y %2e")
    record = emulator.journal.select("GET")[-1]
    assert record.path.endswith("/data-annotations/samples/../../tasks?x=1#y %2e")
    assert record.query == {}
    assert record.body == b""
    assert not {"content-length", "content-type", "transfer-encoding", "cookie"} & set(record.headers)
    assert record.headers["x-language"] == "en-us"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"error_code": "ModelArts.4964", "error_msg": "Already running."}, TaskAlreadyRunning),
        (500, {"error_code": "ModelArts.4354", "error_msg": "Quota."}, PreconditionFailed),
        (500, {"error_code": "ModelArts.7008", "error_msg": "Read-only."}, DatasetBusy),
        (500, {"error_code": "APIGW.0103", "error_msg": "No backend."}, InvalidRequest),
        (401, {"error_code": "ModelArts.4901", "error_msg": "OBS."}, PermissionDenied),
    ],
)
def test_a_start_that_was_refused_is_not_unknown(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, status: int, body: Any, expected: type[ModelArtsError]
) -> None:
    rule = emulator.faults.add("POST", f"{dataset_id}/tasks", "status", status=status, body=json.dumps(body))
    with pytest.raises(expected, match=body["error_code"]) as caught:
        client.tasks.start(dataset_id)
    assert type(caught.value) is expected
    assert caught.value.certainly_not_executed
    assert dataset_id in one_line(caught.value)
    assert rule.fired == 1


class Changing:
    """Settings of which a request or its failure brings others to light."""

    def __init__(self, before: ClientSettings, after: ClientSettings, *, at_failure: bool) -> None:
        self._before, self._after, self._at_failure = before, after, at_failure
        self.asked: list[type[BaseException] | None] = []

    def client(self, **options: Any) -> ModelArtsClient:
        return ModelArtsClient(**vars(self._before), refresh=self._refresh, **options)

    def _refresh(self, error: ModelArtsError | None) -> ClientSettings:
        self.asked.append(None if error is None else type(error))
        if error is not None or not self._at_failure:
            self._before = self._after
        return self._before


@pytest.fixture
def settings(emulator: Emulator, password: PasswordCredentials) -> tuple[ClientSettings, ClientSettings]:
    """Where nobody listens, and the emulator."""
    return ClientSettings("http://127.0.0.1:9", password), ClientSettings(emulator.url, password)


@pytest.mark.parametrize("is_detached", [False, True])
def test_changed_settings_are_used_by_the_next_request(
    settings: tuple[ClientSettings, ClientSettings], dataset_id: str, is_detached: bool
) -> None:
    changing = Changing(*settings, at_failure=False)
    with changing.client() as client, client.detached() as detached:
        assert (detached if is_detached else client).datasets.get(dataset_id).dataset_id == dataset_id
    assert changing.asked == [None]


def test_a_request_that_failed_goes_out_again_by_changed_settings_and_is_no_further_attempt(
    settings: tuple[ClientSettings, ClientSettings], emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id = emulator.load_digits(labeled=100)
    changing = Changing(*settings, at_failure=True)
    with changing.client() as client:
        assert client.tasks.start(dataset_id)
    assert changing.asked == [None, ServiceUnavailable]
    assert moved_clock.slept == []


def test_a_write_that_may_have_been_carried_out_does_not_go_out_by_changed_settings(
    settings: tuple[ClientSettings, ClientSettings], emulator: Emulator
) -> None:
    dataset_id = emulator.load_digits(labeled=100)
    emulator.faults.add("POST", f"{dataset_id}/tasks", "reset_after")
    changing = Changing(settings[1], replace(settings[1], timeout=7), at_failure=True)
    with changing.client() as client, pytest.raises(StartUnknown):
        client.tasks.start(dataset_id)
    assert emulator.journal.count("POST", f"{dataset_id}/tasks") == 1


@pytest.mark.parametrize("seconds", [10**400, -(10**400), float("inf"), float("nan"), 0, True, None, "5"])
def test_a_time_out_that_nobody_can_wait_for_is_refused_in_one_line(seconds: Any) -> None:
    with pytest.raises(InvalidRequest, match="timeout must be a number of seconds above 0") as caught:
        HttpSession(timeout=seconds)
    assert len(str(caught.value)) < 300
