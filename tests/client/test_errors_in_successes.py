"""Answers of HTTP 200 that are no success: they hold the code of an error, or another thing than was asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.error_codes import CODES, rule_for
from airflow_provider_modelarts.client.errors import (
    AuthenticationError,
    DatasetBusy,
    InvalidRequest,
    LabelTaskFailed,
    ModelArtsError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    ServiceUnavailable,
    StartUnknown,
    TaskAlreadyRunning,
    Throttled,
    UnexpectedResponse,
)
from tests.support.error_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

READS: dict[str, Callable[[ModelArtsClient, str], Any]] = {
    "dataset": lambda client, dataset_id: client.datasets.get(dataset_id),
    "datasets": lambda client, _: list(client.datasets.list()),
    "stats": lambda client, dataset_id: client.datasets.stats(dataset_id),
    "sample": lambda client, dataset_id: client.samples.get(dataset_id, "s1"),
    "samples": lambda client, dataset_id: list(client.samples.list(dataset_id)),
    "proposal": lambda client, dataset_id: client.proposals.get(dataset_id, "s1"),
    "proposals": lambda client, dataset_id: list(client.proposals.list(dataset_id)),
    "page": lambda client, dataset_id: client.proposals.page(dataset_id, 0),
    "task": lambda client, dataset_id: client.tasks.get(dataset_id, "t1"),
    "tasks": lambda client, dataset_id: list(client.tasks.list(dataset_id)),
    "labels": lambda client, dataset_id: list(client.labels.list(dataset_id)),
    "team": lambda client, dataset_id: list(client.team_samples.list(dataset_id, "w1")),
}
every_read = pytest.mark.parametrize("read", READS.values(), ids=READS)


def answer(emulator: Emulator, body: Any, method: str = "GET", times: int | None = None, part: str = "/v2/") -> Any:
    """Let the service answer HTTP 200 with a body."""
    return emulator.faults.add(method, part, "status", status=200, body=json.dumps(body), times=times)


@every_read
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ModelArts.4352", NotFound),
        ("ModelArts.4612", NotFound),
        ("ModelArts.0108", PermissionDenied),
        ("ModelArts.4205", UnexpectedResponse),
        ("ModelArts.9999", UnexpectedResponse),
        ("APIG.0201", ServiceUnavailable),
    ],
)
@pytest.mark.parametrize(
    "shape",
    [
        lambda code: {"error_code": code, "error_msg": "It says why."},
        lambda code: {"errorCode": code, "errorMsg": "It says why."},
        lambda code: {"code": code, "message": "It says why."},
        lambda code: {"code": code, "error_msg": "It says why."},
        lambda code: {"error": {"code": code, "message": "It says why."}},
        lambda code: {"error_code": code, "error_msg": "It says why.", "samples": [], "sample_count": 0},
    ],
    ids=["error_code", "errorCode", "code", "mixed", "nested", "with an empty list"],
)
def test_an_errors_code_in_a_success_is_that_error_whatever_was_read(
    make_client: Callable[..., ModelArtsClient],
    emulator: Emulator,
    read: Callable[..., Any],
    code: str,
    kind: type[ModelArtsError],
    shape: Callable[[str], Any],
) -> None:
    answer(emulator, shape(code))
    with pytest.raises(ModelArtsError) as caught:
        read(make_client(retries=False), "d1")
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.status) == (code, 200)
    assert "It says why" in one_line(caught.value)


@every_read
@pytest.mark.parametrize(("body", "kind"), [(429, Throttled), (403, PermissionDenied), (503, ServiceUnavailable)])
def test_the_number_in_an_older_body_counts_as_its_status(
    make_client: Callable[..., ModelArtsClient],
    emulator: Emulator,
    read: Callable[..., Any],
    body: int,
    kind: type[ModelArtsError],
) -> None:
    answer(emulator, {"error": {"code": body, "message": "It says why.", "title": "No"}})
    with pytest.raises(kind, match="It says why"):
        read(make_client(retries=False), "d1")


@every_read
def test_a_throttle_in_a_success_is_waited_out_like_any_other(
    client: ModelArtsClient, emulator: Emulator, read: Callable[..., Any], moved_clock: MovedClock
) -> None:
    rule = answer(emulator, {"error_code": "ModelArts.4206", "error_msg": "Slow down."})
    with pytest.raises(Throttled):
        read(client, "d1")
    assert rule.fired == 6
    assert len(moved_clock.slept) == 5


def test_a_list_goes_on_after_a_throttle_in_a_success(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    answer(emulator, {"error_code": "APIGW.0308", "error_msg": "Slow down."}, times=2)
    assert len(list(client.proposals.list(dataset_id))) == 250


def test_a_token_code_in_a_success_renews_the_token_once(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str
) -> None:
    rule = answer(emulator, {"error_code": "APIGW.0307", "error_msg": "The token must be updated."}, times=1)
    assert client.datasets.get(dataset_id).dataset_id == dataset_id
    assert rule.fired == 1
    assert emulator.journal.count("POST", "/auth/tokens") == 2


@pytest.mark.parametrize("empty", ["", None, " ", "0", 0])
def test_an_empty_code_is_none(client: ModelArtsClient, emulator: Emulator, empty: object) -> None:
    answer(emulator, {"dataset_id": "d1", "error_code": empty, "error_msg": empty, "code": 200, "message": "success"})
    assert client.datasets.get("d1").dataset_id == "d1"
    emulator.faults.clear()
    answer(emulator, {"sample_count": 0, "samples": [], "error_code": empty, "code": "SUCCESS", "error": None})
    assert list(client.proposals.list("d1")) == []


@pytest.mark.parametrize("code", ["ModelArts.4612", "ModelArts.4352", "ModelArts.0108"])
def test_a_wait_ends_as_the_code_in_a_success_says(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, code: str
) -> None:
    rule = answer(emulator, {"error_code": code, "error_msg": "No."})
    with pytest.raises(ModelArtsError) as caught:
        client.tasks.wait("d1", "t1", timeout=24 * 3600)
    assert caught.value.permanent
    assert rule.fired == 1


@pytest.mark.parametrize("status", [404, "404", "error", "FAILED", 500])
def test_a_status_that_no_labeling_task_has_does_not_hide_a_code(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, status: object
) -> None:
    rule = answer(emulator, {"status": status, "error_code": "ModelArts.4612", "error_msg": "It is unknown."})
    with pytest.raises(NotFound, match="It is unknown"):
        client.tasks.wait("d1", "t1", timeout=24 * 3600)
    assert rule.fired == 1


def test_a_labeling_task_that_failed_may_carry_its_own_code(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    failed = {"status": 2, "error_code": "ModelArts.4352", "error_msg": "A step found no dataset."}
    answer(emulator, failed)
    task = client.tasks.get("d1", "t1")
    assert (task.status, task.error_code) == (2, "ModelArts.4352")
    with pytest.raises(LabelTaskFailed, match="no dataset"):
        client.tasks.wait("d1", "t1", timeout=60)


@pytest.mark.parametrize("code", ["ModelArts.4902", "ModelArts.4914", "ModelArts.4996"])
@pytest.mark.parametrize("status", [-1, 0, 1, 3])
def test_a_code_that_says_how_far_a_task_is_is_no_error(
    client: ModelArtsClient, emulator: Emulator, code: str, status: int
) -> None:
    answer(emulator, {"status": status, "code": code, "message": "It goes on.", "error_code": None})
    assert client.tasks.get("d1", "t1").code == code


@pytest.mark.parametrize("read", ["dataset", "sample", "proposal"])
@pytest.mark.parametrize(
    "body", [{}, {"labels": []}, {"dataset_id": "other", "sample_id": "other"}, {"sample_id": None}]
)
def test_an_answer_about_something_else_is_no_answer(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, read: str, body: Any
) -> None:
    answer(emulator, body)
    with pytest.raises(UnexpectedResponse, match="not what was asked for"):
        READS[read](make_client(retries=False), "d1")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"config": {}},
        {"status": None},
        {"status": "soon"},
        {"status": 3, "task_id": "other"},
        {"status": 3, "resource_id": "other"},
        {"status": 3, "dataset_id": "other", "task_id": "t1"},
    ],
)
def test_an_answer_about_another_task_or_none_is_no_answer(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, body: Any
) -> None:
    answer(emulator, body)
    with pytest.raises(UnexpectedResponse, match="read labeling task t1"):
        make_client(retries=False).tasks.get("d1", "t1")


def test_an_id_that_comes_as_a_number_is_the_same_id(client: ModelArtsClient, emulator: Emulator) -> None:
    answer(emulator, {"sample_id": 12, "labels": []})
    assert client.samples.get("d1", "12").sample_id == "12"


def test_statistics_without_any_are_no_answer(make_client: Callable[..., ModelArtsClient], emulator: Emulator) -> None:
    answer(emulator, {})
    with pytest.raises(UnexpectedResponse, match="label_stats"):
        make_client(retries=False).datasets.stats("d1")


LABELED = [{"sample_id": name, "labels": [{"name": "a"}]} for name in "ab"]
WRITES: dict[str, Callable[..., Any]] = {
    "update": lambda client: client.samples.update("d1", LABELED),
    "clear": lambda client: client.samples.clear_labels("d1", ["a", "b"]),
    "team": lambda client: client.team_samples.update("d1", "w1", LABELED),
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@every_write
@pytest.mark.parametrize("extra", [{}, {"success": False}, {"success": False, "results": []}], ids=str)
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ModelArts.4381", DatasetBusy),
        ("ModelArts.4206", Throttled),
        ("ModelArts.4352", NotFound),
        ("ModelArts.0112", PermissionDenied),
        ("ModelArts.4116", PermissionDenied),
    ],
)
def test_a_write_that_was_refused_as_a_whole_is_refused(
    make_client: Callable[..., ModelArtsClient],
    emulator: Emulator,
    write: Callable[..., Any],
    extra: dict[str, Any],
    code: str,
    kind: type[ModelArtsError],
) -> None:
    answer(emulator, {"error_code": code, "error_msg": "No.", **extra}, "PUT")
    with pytest.raises(kind) as caught:
        write(make_client(retries=False))
    assert caught.value.certainly_not_executed


@every_write
def test_a_write_that_was_throttled_in_a_success_is_sent_again(
    client: ModelArtsClient, emulator: Emulator, write: Callable[..., Any], moved_clock: MovedClock
) -> None:
    emulator.faults.add("PUT", "/v2/", "status", status=200, body='{"error_code": "APIGW.0308"}', times=2)
    answer(emulator, {"success": True}, "PUT")
    assert [outcome.ok for outcome in write(client)] == [True, True]
    assert len(moved_clock.slept) == 2


@every_write
@pytest.mark.parametrize(
    "body",
    [
        {"error_code": "ModelArts.4420", "error_msg": "Sample not found. [a]"},
        {"success": False, "error_code": "ModelArts.4423", "error_msg": "Size unknown."},
        {"success": True, "error_code": "ModelArts.4381"},
        {"success": True, "error_code": "ModelArts.4381", "results": []},
        {"error_code": "ModelArts.9999"},
        {"error_code": "APIGW.0201", "error_msg": "Backend slow."},
    ],
    ids=str,
)
def test_what_may_have_been_written_in_part_is_not_known(
    client: ModelArtsClient, emulator: Emulator, write: Callable[..., Any], body: Any
) -> None:
    rule = answer(emulator, body, "PUT")
    found = write(client)
    assert [outcome.ok for outcome in found] == [None, None]
    assert {outcome.error_code for outcome in found} == {body["error_code"]}
    assert rule.fired == 1, "it is not sent twice"


@every_write
def test_the_codes_of_single_samples_belong_to_them(
    client: ModelArtsClient, emulator: Emulator, write: Callable[..., Any]
) -> None:
    results = [{"success": False, "error_code": "ModelArts.4381"}, {"success": True}]
    answer(emulator, {"success": False, "error_code": "ModelArts.4381", "results": results}, "PUT")
    assert [outcome.ok for outcome in write(client)] == [False, True]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ModelArts.4386", TaskAlreadyRunning),
        ("ModelArts.4405", PreconditionFailed),
        ("ModelArts.4821", DatasetBusy),
        ("ModelArts.4352", NotFound),
        ("ModelArts.0104", InvalidRequest),
        ("ModelArts.9999", StartUnknown),
        ("APIGW.0201", StartUnknown),
    ],
)
def test_a_start_that_was_refused_in_a_success_is_refused(
    client: ModelArtsClient, emulator: Emulator, code: str, kind: type[ModelArtsError]
) -> None:
    rule = answer(emulator, {"error_code": code, "error_msg": "No."}, "POST", part="/tasks")
    emulator.faults.rules[-1].match = lambda call: "/auth/" not in call.path
    with pytest.raises(ModelArtsError) as caught:
        client.tasks.start("d1")
    assert type(caught.value) is kind
    assert rule.fired == 1


def test_a_start_that_names_its_task_was_carried_out(client: ModelArtsClient, emulator: Emulator) -> None:
    answer(emulator, {"task_id": "t7", "error_code": "ModelArts.4386"}, "POST")
    assert client.tasks.start("d1") == "t7"


def test_a_stop_that_was_refused_in_a_success_did_not_stop(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    answer(emulator, {"error_code": "ModelArts.4612", "error_msg": "Unknown."}, "POST")
    answer(emulator, {"status": 1})
    with pytest.raises(NotFound):
        client.tasks.stop("d1", "t1")


@pytest.mark.parametrize("body", [{"error_code": 4612, "error_msg": "Unknown."}, {"errorCode": "500"}])
def test_a_code_that_is_a_number_is_no_stop(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, body: dict[str, Any]
) -> None:
    answer(emulator, body, "POST")
    answer(emulator, {"status": 1})
    with pytest.raises(UnexpectedResponse):
        client.tasks.stop("d1", "t1")


@pytest.mark.parametrize("code", [0, "0", 200, None, ""])
def test_a_code_that_says_that_all_is_well_is_no_error(client: ModelArtsClient, emulator: Emulator, code: Any) -> None:
    answer(emulator, {"error_code": code}, "POST")
    client.tasks.stop("d1", "t1")


@pytest.mark.parametrize(
    ("body", "kind", "sent"),
    [
        ({"error_code": "IAM.0062", "error_msg": "Wrong password."}, AuthenticationError, 1),
        ({"error": {"code": 401, "message": "Wrong password.", "title": "Unauthorized"}}, AuthenticationError, 1),
        ({"error_code": "IAM.0061", "error_msg": "Locked."}, AuthenticationError, 1),
        ({"error_code": "IAM.0082", "error_msg": "Disabled."}, PermissionDenied, 1),
        ({"error": {"code": 404, "message": "No such project."}}, PermissionDenied, 1),
        ({"error_code": "IAM.0012", "error_msg": "Too often."}, Throttled, 6),
    ],
)
@pytest.mark.parametrize("status", [200, 201])
def test_an_error_of_iam_in_a_success_is_that_error(
    make_client: Callable[..., ModelArtsClient],
    emulator: Emulator,
    password: PasswordCredentials,
    moved_clock: MovedClock,
    body: Any,
    kind: type[ModelArtsError],
    sent: int,
    status: int,
) -> None:
    rule = emulator.faults.add("POST", "/auth/tokens", "status", status=status, body=json.dumps(body), times=None)
    with pytest.raises(kind):
        make_client(password).datasets.get("d1")
    assert rule.fired == sent
    if kind is AuthenticationError:
        with pytest.raises(AuthenticationError, match="not sent again"):
            make_client(password).datasets.get("d1")
        assert rule.fired == sent


def test_a_code_means_in_a_success_what_it_means_at_its_own_status() -> None:
    differing = [
        (status, code)
        for status, code in CODES
        if status is not None and rule_for(200, code).error is not CODES[status, code].error
    ]
    assert differing == []


# --- failures without a code of the service

NO_CODE: dict[str, dict[str, Any]] = {
    "success false": {"success": False},
    "success as text": {"success": "false", "error_msg": "backend timeout"},
    "only a reason": {"error_msg": "backend timeout"},
    "another word for it": {"success": False, "message": "backend timeout"},
    "a number": {"error_code": 500},
    "a number as text": {"error_code": "4352", "error_msg": ""},
    "a text as error": {"error": "backend timeout"},
    "errors": {"errors": [{"reason": "backend timeout"}]},
    "the gateway's": {"code": 503, "message": "backend timeout"},
}
EMPTY_LISTS = {"nothing": {}, "no count": {"samples": []}, "null": {"samples": None, "sample_count": 0}}
no_code = pytest.mark.parametrize("body", NO_CODE.values(), ids=NO_CODE)


@no_code
@pytest.mark.parametrize("beside", EMPTY_LISTS.values(), ids=EMPTY_LISTS)
def test_an_empty_list_that_says_that_it_failed_is_no_empty_list(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, body: dict[str, Any], beside: dict[str, Any]
) -> None:
    dataset_id = emulator.load_proposals(3)
    answer(emulator, {**beside, **body}, part="/auto-annotations/samples")
    with pytest.raises(UnexpectedResponse, match="list proposals of dataset") as raised:
        client.proposals.page(dataset_id, 0)
    one_line(str(raised.value))
    assert not raised.value.permanent


@no_code
def test_a_sample_without_labels_that_says_that_it_failed_is_no_sample_without_labels(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, body: dict[str, Any]
) -> None:
    answer(emulator, {"sample_id": "s1", **body}, part="/data-annotations/samples/")
    with pytest.raises(UnexpectedResponse, match="read sample s1 of dataset") as raised:
        client.samples.get("d1", "s1")
    one_line(str(raised.value))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"success": True},
        {"error_code": "0", "error_msg": ""},
        {"code": 200, "message": "OK"},
        {"error_msg": None},
        {"message": "done"},
    ],
    ids=json.dumps,
)
def test_what_says_that_it_went_well_may_be_empty(
    client: ModelArtsClient, emulator: Emulator, body: dict[str, Any]
) -> None:
    answer(emulator, {"samples": [], "sample_count": 0, **body}, part="/auto-annotations/samples")
    assert list(client.proposals.page("d1", 0).items) == []
    answer(emulator, {"sample_id": "s1", **body}, part="/data-annotations/samples/")
    assert not client.samples.get("d1", "s1").labels


@pytest.mark.parametrize("given", [{}, "none", 0, True], ids=repr)
def test_a_list_that_is_none_is_refused(client: ModelArtsClient, emulator: Emulator, given: Any) -> None:
    answer(emulator, {"samples": given, "sample_count": 0}, part="/auto-annotations/samples")
    with pytest.raises(UnexpectedResponse, match="samples is no list"):
        client.proposals.page("d1", 0)
