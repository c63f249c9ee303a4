"""The check of every exchange finds what it should: else its silence over the whole run would prove nothing."""

from __future__ import annotations

import copy
import json
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.emulator.http.journal import Record
from tests.support import contract
from tests.support.contract import ContractCheck, at, find_operation, is_valid, operations, validator
from tests.support.quick_schema import QuickSchemas, UnknownKeywordError
from tests.test_contract_examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterator

DATASET = "/v2/3f5a/datasets/6mHUGe7ETlhayb4qDMN"
CONFIRM = f"{DATASET}/data-annotations/samples"
PROPOSALS = f"{DATASET}/auto-annotations/samples"
LABEL = {"name": "rose", "type": 0, "id": "1", "score": 1, "property": {"@modelarts:hard": "false"}}
# Not what the contract calls an input: unknown key, type unknown, score as text, hard as a number.
ODD_LABEL = {"name": "", "type": 77, "score": "0.5", "colour": 1, "property": {"@modelarts:hard": 0}}


def exchange(method: str, path: str, body: Any = None, *, status: int = 200, answer: Any = None, **more: Any) -> Record:
    sent = more.pop("raw_body", b"" if body is None else json.dumps(body).encode())
    headers = {"x-auth-token": "MII", **({"content-type": "application/json"} if sent else {})}
    response = more.pop("raw_answer", b"" if answer is None else json.dumps(answer).encode())
    return Record(
        method=method,
        path=path,
        query=more.pop("query", {}),
        headers=more.pop("headers", headers),
        body=sent,
        status=status,
        response=response,
        time=0.0,
        fault=more.pop("fault", None),
        request_id="r",
        response_headers=more.pop("response_headers", {"x-request-id": "r"}),
        **more,
    )


def confirm(labels: Any, **more: Any) -> Record:
    body = {"samples": [{"sample_id": "a", "labels": labels}]}
    return exchange("PUT", CONFIRM, body, **{"answer": {"success": True}, **more})


GOOD = {
    "token": exchange(
        "POST",
        "/v3/auth/tokens",
        {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {"user": {"name": "u", "password": "p", "domain": {"name": "d"}}},
                },
                "scope": {"project": {"name": "cn-north-1"}},
            }
        },
        status=201,
        answer={"token": {"expires_at": "2020-01-04T09:05:22.701000Z"}},
        headers={"content-type": "application/json;charset=utf8"},
    ),
    "start": exchange(
        "POST", f"{DATASET}/tasks", {"task_type": "auto-label"}, answer={"task_id": "7eAtpiNSaI1mCHJK3SJ"}
    ),
    "list": exchange(
        "GET",
        PROPOSALS,
        query={"limit": "100", "offset": "3", "order": "asc", "low_score": "0.5"},
        answer={"sample_count": 1, "samples": [{"sample_id": "a", "labels": [LABEL], "unheard_of": None}]},
    ),
    "confirm": confirm([LABEL]),
    "stop": exchange("POST", f"{DATASET}/tasks/7eAt/stop", status=204),
    "stop, as an example shows it": exchange("POST", f"{DATASET}/tasks/7eAt/stop", status=204, raw_answer=b"{}"),
    "refused": confirm([LABEL], status=501, answer={"error_code": "ModelArts.4386", "error_msg": "running"}),
}

BAD = {
    "no such call": (exchange("GET", "/v2/3f5a/data-sets", status=404), "no such call"),
    "method": (exchange("PATCH", CONFIRM, {"samples": []}, status=404), "no such call"),
    "answer to no such call": (exchange("PATCH", CONFIRM, {"samples": []}, answer={}), "to an unknown call"),
    "no token": (exchange("GET", PROPOSALS, headers={}, answer={}), "neither X-Auth-Token"),
    "form": (confirm([LABEL], headers={"x-auth-token": "t", "content-type": "text/plain"}), "application/json"),
    "length of nothing": (
        exchange("GET", PROPOSALS, headers={"x-auth-token": "t", "content-length": "0"}, answer={}),
        "Content-Length",
    ),
    "limit": (exchange("GET", PROPOSALS, query={"limit": "101"}, answer={}), "'limit'"),
    "limit as words": (exchange("GET", PROPOSALS, query={"limit": "many"}, answer={}), "'limit'"),
    "order": (exchange("GET", PROPOSALS, query={"order": "up"}, answer={}), "'order'"),
    "score": (exchange("GET", PROPOSALS, query={"low_score": "2"}, answer={}), "'low_score'"),
    "query name": (exchange("GET", PROPOSALS, query={"page": "1"}, answer={}), "no query parameter 'page'"),
    "trailing comma": (
        exchange("PUT", CONFIRM, raw_body=b'{"samples": [],}', answer={"success": True}),
        "not strict JSON",
    ),
    "NaN": (exchange("PUT", CONFIRM, raw_body=b'{"samples": [NaN]}', answer={"success": True}), "not strict JSON"),
    "no body": (exchange("PUT", CONFIRM, answer={"success": True}), "the body is missing"),
    "a body too many": (
        exchange("POST", f"{DATASET}/tasks/7eAt/stop", {"now": True}, status=204),
        "takes no body",
    ),
    "task type": (exchange("POST", f"{DATASET}/tasks", {"task_type": "magic"}, answer={}), "'magic'"),
    "unknown field": (exchange("POST", f"{DATASET}/tasks", {"type_of_task": "auto-label"}, answer={}), "type_of_task"),
    "odd label": (confirm([ODD_LABEL]), "['labels'][0]"),
    "undocumented status": (confirm([LABEL], status=202), "status 202"),
    "answer of a wrong type": (exchange("GET", PROPOSALS, answer={"sample_count": "two"}), "['sample_count']"),
    "answer deep down": (
        exchange("GET", PROPOSALS, answer={"samples": [{"labels": [{"name": 7}]}]}),
        "['samples'][0]['labels'][0]['name']",
    ),
    "answer is no JSON": (exchange("GET", PROPOSALS, raw_answer=b"<html>"), "not JSON"),
    "answer to a stop": (exchange("POST", f"{DATASET}/tasks/7eAt/stop", status=204, raw_answer=b"done"), "status 204"),
    "no request id": (exchange("GET", PROPOSALS, answer={}, response_headers={}), "X-Request-Id"),
    "error of a wrong shape": (
        exchange("GET", PROPOSALS, status=400, answer={"error_code": 4386}),
        "['error_code']",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_agrees_with_the_contract_passes(name: str) -> None:
    check = ContractCheck()
    check(GOOD[name])
    assert check.problems == []
    assert check.exchanges == 1


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_is_found(name: str) -> None:
    record, expected = BAD[name]
    check = ContractCheck()
    check(record)
    assert any(expected in problem for problem in check.problems), check.problems
    assert all(problem.startswith(f"{record.method} {record.path}") for problem in check.problems)


def test_the_answer_of_a_fault_is_exempt_and_its_request_is_not() -> None:
    check = ContractCheck()
    check(exchange("GET", PROPOSALS, raw_answer=b"<html>", status=502, fault="html"))
    assert check.problems == []
    check(exchange("GET", PROPOSALS, query={"limit": "0"}, raw_answer=b"", status=0, fault="reset"))
    assert len(check.problems) == 1


@pytest.mark.parametrize("kept", [contract.MOST_KEPT, 0])
def test_a_label_goes_back_as_it_was_served_and_only_so(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "MOST_KEPT", kept)
    check = ContractCheck()
    check(
        exchange("GET", PROPOSALS, answer={"sample_count": 1, "samples": [{"sample_id": "a", "labels": [ODD_LABEL]}]})
    )
    check(confirm([ODD_LABEL]))
    assert check.problems == []
    check(confirm([{**ODD_LABEL, "score": "0.6"}]))
    assert len(check.problems) >= 1
    assert all("request: body['samples'][0]['labels'][0]" in problem for problem in check.problems)


def test_an_answer_that_comes_again_is_judged_again_unless_it_was_right() -> None:
    check = ContractCheck()
    for _ in range(2):
        check(GOOD["list"])
    assert check.problems == []
    for _ in range(2):
        check(BAD["answer deep down"][0])
    assert len(check.problems) == 2


def test_wrong_requests_pass_where_a_test_sends_them_on_purpose() -> None:
    check = ContractCheck(check_requests=False)
    check(exchange("GET", PROPOSALS, query={"limit": "101"}, status=400, answer={"error_code": "ModelArts.0104"}))
    assert check.problems == []
    check(exchange("GET", PROPOSALS, query={"limit": "101"}, answer={"sample_count": []}))
    assert len(check.problems) == 1, "answers are checked all the same"


def test_every_call_of_the_contract_is_found_by_its_own_path() -> None:
    assert len(operations()) == 72
    for _, operation in operations():
        path = "/".join("x1" if part.startswith("{") else part for part in operation.template.split("/"))
        assert find_operation(operation.method, path) is operation
        for status, node in operation.node["responses"].items():
            if "$ref" not in node and "content" in node:
                pointer = f"{operation.pointer}/responses/{status}/content/application~1json/schema"
                assert list(validator(pointer).iter_errors(0)), f"{operation} {status} accepts a bare number"


ODD_VALUES = (None, True, False, 0, 1, -1, 1.0, 0.5, 2**70, "", "auto-label", "x" * 3000, [], [1, "a"], {}, {"a": 1})


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield where something stands in a value: what holds it, and its key or index there."""
    for key, part in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(part, (dict, list)):
            yield from places(part)


def spoiled(value: Any, draw: random.Random) -> Any:
    """Return ``value`` with one part of it replaced, dropped or added; it may be as valid as before."""
    copied = {"root": copy.deepcopy(value)}
    holder, key = draw.choice(list(places(copied)))
    odd = copy.deepcopy(draw.choice(ODD_VALUES))
    change = draw.choice(("replace", "drop", "add"))
    if change == "drop" and holder is not copied:
        del holder[key]
    elif change == "add" and isinstance(holder[key], dict):
        holder[key]["unheard_of"] = odd
    elif change == "add" and isinstance(holder[key], list):
        holder[key].append(odd)
    else:
        holder[key] = odd
    return copied["root"]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_the_quick_verdict_is_that_of_jsonschema(example: Any) -> None:
    pointer = f"/components/schemas/{example.schema}"
    draw = random.Random(example.name)
    values = [example.value, *(spoiled(example.value, draw) for _ in range(40))]
    verdicts = [validator(pointer).is_valid(value) for value in values]
    assert [is_valid(pointer)(value) for value in values] == verdicts
    # Not jsonschema's own, which stands in for what cannot be judged quickly: there is nothing such in the contract.
    quick = QuickSchemas(lambda ref: at(ref.removeprefix("#"))).judge(at(pointer))
    assert [quick(value) for value in values] == verdicts
    assert verdicts[0]
    assert not all(verdicts)


def test_a_schema_that_cannot_be_judged_quickly_is_jsonschemas() -> None:
    with pytest.raises(UnknownKeywordError, match="multipleOf"):
        QuickSchemas(at).judge({"items": {"multipleOf": 2}})


def test_a_schema_that_could_not_be_judged_stays_so() -> None:
    document = {"list": {"items": {"$ref": "element"}}, "element": {"multipleOf": 2}}
    quick = QuickSchemas(document.__getitem__)
    for _ in range(2):
        with pytest.raises(UnknownKeywordError, match="multipleOf"):
            quick.judge({"$ref": "list"})


def test_threads_that_ask_for_one_schema_at_once_get_a_finished_one() -> None:
    verdicts: list[bool] = []
    threads: list[threading.Thread] = []

    def find(reference: str) -> Any:
        if not threads:
            threads.append(threading.Thread(target=lambda: verdicts.append(quick.judge({"$ref": "number"})(1))))
            threads[0].start()
            # Long enough for a thread that does not wait; one that does is not waited for.
            threads[0].join(0.1)
        return {"type": "integer"}

    quick = QuickSchemas(find)
    assert quick.judge({"$ref": "number"})(1)
    threads[0].join()
    assert verdicts == [True]
