"""What is certainly wrong is refused before anything is sent: B12, B13, B22."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import (
    AccessKeyCredentials,
    ModelArtsClient,
    PasswordCredentials,
    Sample,
    TokenCredentials,
)
from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.sample_rows import row_of
from airflow_provider_modelarts.client.validation import Endpoint, validate_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator

LABELS = [{"name": "cat"}]

CALLS: dict[str, Callable[[ModelArtsClient], Any]] = {
    "empty dataset id": lambda c: c.datasets.get(""),
    "dataset id of another type": lambda c: c.datasets.get(None),  # type: ignore[arg-type]
    "parent folder as id": lambda c: c.tasks.get("..", "t"),
    "empty task id": lambda c: c.tasks.get("d", " "),
    "task type": lambda c: c.tasks.start("d", "auto_deploy"),
    "algorithm": lambda c: c.tasks.start("d", config={"algorithm_type": "supervisory"}),
    "config that is text": lambda c: c.tasks.start("d", config="fast"),  # type: ignore[arg-type]
    "flag that is text": lambda c: c.tasks.start("d", collect_key_sample="yes"),  # type: ignore[arg-type]
    "pre-label without model": lambda c: c.tasks.start("d", "pre-label"),
    "NaN in config": lambda c: c.tasks.start("d", config={"stop_time": float("nan")}),
    "task type of a list": lambda c: list(c.tasks.list("d", task_type="deploy")),
    "poll interval": lambda c: c.tasks.wait("d", "t", timeout=10, poll_interval=0),
    "timeout": lambda c: c.tasks.wait("d", "t", timeout=-1),
    "timeout not finite": lambda c: c.tasks.wait("d", "t", timeout=float("nan")),
    "limit 0": lambda c: c.proposals.page("d", 0, limit=0),
    "limit 101": lambda c: c.proposals.page("d", 0, limit=101),
    "page below 0": lambda c: c.proposals.page("d", -1),
    "score above 1": lambda c: list(c.proposals.list("d", low_score=1.5)),
    "score that is no number": lambda c: list(c.proposals.list("d", high_score="high")),
    "score NaN": lambda c: list(c.proposals.list("d", high_score=float("nan"))),
    "scores crossed": lambda c: list(c.proposals.list("d", low_score=0.9, high_score=0.5)),
    "order": lambda c: list(c.proposals.list("d", order="newest")),
    "conditions": lambda c: list(c.proposals.list("d", search_conditions="[1]")),
    "no labels": lambda c: c.samples.update("d", [{"sample_id": "s", "labels": []}]),
    "labels missing": lambda c: c.samples.update("d", [{"sample_id": "s"}]),
    "labels null": lambda c: c.samples.update("d", [{"sample_id": "s", "labels": None}]),
    "labels of a model missing": lambda c: c.samples.update("d", [Sample({"sample_id": "s", "labels": []})]),
    "label that is text": lambda c: c.samples.update("d", [{"sample_id": "s", "labels": ["cat"]}]),
    "label without anything": lambda c: c.samples.update("d", [{"sample_id": "s", "labels": [{}]}]),
    "sample without id": lambda c: c.samples.update("d", [{"labels": LABELS}]),
    "sample twice": lambda c: c.samples.update("d", [{"sample_id": "s", "labels": LABELS}] * 2),
    "unknown field": lambda c: c.samples.update("d", [{"sample_id": "s", "labels": LABELS, "preview": "x"}]),
    "one sample instead of a list": lambda c: c.samples.update("d", {"sample_id": "s", "labels": LABELS}),  # type: ignore[arg-type]
    "samples that are text": lambda c: c.samples.update("d", ["s"]),  # type: ignore[list-item]
    "NaN in a label": lambda c: c.samples.update(
        "d", [{"sample_id": "s", "labels": [{"name": "cat", "score": float("nan")}]}]
    ),
    "too large": lambda c: c.samples.update("d", [{"sample_id": "s", "labels": [{"name": "x" * 13_000_000}]}]),
    "clear twice": lambda c: c.samples.clear_labels("d", ["s", "s"]),
    "clear text": lambda c: c.samples.clear_labels("d", "s"),
    "team task id": lambda c: c.team_samples.update("d", "", [{"sample_id": "s", "labels": LABELS}]),
    "team labels": lambda c: c.team_samples.update("d", "w", [{"sample_id": "s", "labels": []}]),
    "email": lambda c: c.team_samples.update("d", "w", [{"sample_id": "s", "labels": LABELS}], email="bob"),
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_sent(name: str, client: ModelArtsClient, emulator: Emulator) -> None:
    with pytest.raises(InvalidRequest) as caught:
        CALLS[name](client)
    assert caught.value.status is None
    assert caught.value.permanent
    assert "\n" not in str(caught.value)
    assert [record for record in emulator.journal if record.path.startswith("/v2")] == []


COMMENT = {"sample_id": "s", "worker_id": "w", "accept": True}
# Every call that takes a list of samples, copies, people or labels, and what one element of it may be.
LISTS: dict[str, tuple[Callable[[ModelArtsClient, Any], object], Any]] = {
    "samples.update": (lambda c, given: c.samples.update("d", given), {"sample_id": "s", "labels": LABELS}),
    "samples.clear_labels": (lambda c, given: c.samples.clear_labels("d", given), "s"),
    "proposals.confirm": (
        lambda c, given: c.proposals.confirm("d", given),
        row_of(Sample({"sample_id": "s", "labels": LABELS})),
    ),
    "team_samples.update": (
        lambda c, given: c.team_samples.update("d", "w", given),
        {"sample_id": "s", "labels": LABELS},
    ),
    "team_samples.clear_labels": (lambda c, given: c.team_samples.clear_labels("d", "w", given), "s"),
    "team_samples.review": (lambda c, given: c.team_samples.review("d", "w", given), COMMENT),
    "team_tasks.comment_acceptance": (lambda c, given: c.team_tasks.comment_acceptance("d", "w", given), COMMENT),
    "team_tasks.notify": (lambda c, given: c.team_tasks.notify("d", "w", given), "a@b.c"),
    "sample_files.upload": (lambda c, given: c.sample_files.upload("d", given), {"name": "1.png", "data": b"1"}),
    "sample_files.delete": (lambda c, given: c.sample_files.delete("d", given), "s"),
    "labels.create": (lambda c, given: c.labels.create("d", given), {"name": "rose"}),
    "labels.update": (lambda c, given: c.labels.update("d", given), {"name": "rose"}),
    "labels.delete": (lambda c, given: c.labels.delete("d", given), "rose"),
    "workforces.delete_workers": (lambda c, given: c.workforces.delete_workers("t", given), "w"),
    "exports.start": (
        lambda c, given: c.exports.start("d", {"path": "/bucket/output/", "export_params": {"samples": given}}),
        "s",
    ),
}


NO_LISTS: tuple[Any, ...] = (None, [], (), "", "None", {}, 5, [None], [""], [{}], b"s")
ALL_SAMPLES = ("exports.start", None)
"""An export that names no samples is one of all."""


@pytest.mark.parametrize(
    ("call", "given"),
    [
        pytest.param(call, given, id=f"{call}-{given!r}")
        for call in LISTS
        for given in NO_LISTS
        if (call, given) != ALL_SAMPLES
    ],
)
def test_what_is_no_list_of_at_least_one_is_refused(
    call: str, given: Any, client: ModelArtsClient, emulator: Emulator
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        LISTS[call][0](client, given)
    assert caught.value.status is None
    assert [record for record in emulator.journal if record.path.startswith("/v2")] == []


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"labels": [{"name": "rose"}, {"name": "rose", "type": "flower"}]},
            "type of label 2 of sample s must be a",
        ),
        ({"labels": [{"name": "rose", "type": True}]}, "type of label 1 of sample s must be a number, not True"),
        ({"labels": [{"name": "rose", "score": "high"}]}, "score of label 1 of sample s must be a number, not 'high'"),
        (
            {"labels": [{"name": "rose", "property": "red"}]},
            "property of label 1 of sample s must be an object",
        ),
        ({"sample_id": None, "sampleid": "s"}, r"sampleid \(is sample_id meant\?\)"),
        ({"lables": LABELS}, r"lables \(is labels meant\?\)"),
        ({"metadata": "red"}, "metadata of sample s must be an object"),
        ({"sample_type": "image"}, "sample_type of sample s must be a number"),
        ({"worker_id": {}}, "worker_id of sample s must be an id as text"),
        ({"sample_usage": 1.5}, "sample_usage of sample s must be text"),
    ],
)
def test_values_of_a_wrong_type_are_refused_by_their_place(
    wrong: dict[str, Any], text: str, client: ModelArtsClient, emulator: Emulator
) -> None:
    sample = {"sample_id": "s", "labels": LABELS, **wrong}
    with pytest.raises(InvalidRequest, match=text):
        client.samples.update("d", [sample])
    with pytest.raises(InvalidRequest, match=text):
        client.team_samples.update("d", "w", [sample])
    assert [record for record in emulator.journal if record.path.startswith("/v2")] == []


@pytest.mark.parametrize("call", sorted(set(LISTS) - {"team_tasks.notify"}))
def test_what_comes_twice_in_one_request_is_refused(call: str, client: ModelArtsClient, emulator: Emulator) -> None:
    send, element = LISTS[call]
    with pytest.raises(InvalidRequest, match=r"twice|2 times|once more"):
        send(client, [element, element])
    assert [record for record in emulator.journal if record.path.startswith("/v2")] == []


def test_two_members_may_have_the_same_sample(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    sample_id = next(iter(client.proposals.list(dataset_id))).sample_id
    task_id = emulator.create_team_task(dataset_id, ("a@example.com", "b@example.com"), sample_ids=[sample_id])
    copies = [
        {"sample_id": sample_id, "labels": sample.raw["labels"] or LABELS, "worker_id": sample.worker_id}
        for sample in client.team_samples.list(dataset_id, task_id)
    ]
    assert len({copy["worker_id"] for copy in copies}) == 2
    assert len(client.team_samples.update(dataset_id, task_id, copies)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "ftp://host",
        "http://example.com",
        "https://user:pw@host",
        "https://",
        "https://host:nine",
        "https://a b",
        "https://host?x=1",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://notlocalhost",
        "host/#frag",
        "a..b",
        ".example.com",
        f"https://{'x' * 64}.example.com",
    ],
)
def test_endpoints_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Endpoint(text)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("modelarts.cn-north-4.myhuaweicloud.com", "https://modelarts.cn-north-4.myhuaweicloud.com"),
        ("https://host:443/", "https://host"),
        ("https://host:8443/prefix/", "https://host:8443/prefix"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
        ("modelarts.example.com.", "https://modelarts.example.com."),
        ("x" * 63, f"https://{'x' * 63}"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_endpoints_that_are_taken(text: str, url: str) -> None:
    assert Endpoint(text).url == url


def test_plain_http_elsewhere_needs_leave() -> None:
    credentials = TokenCredentials("MIItoken", "p")
    with pytest.raises(InvalidRequest, match="allow_http"):
        ModelArtsClient("http://modelarts.example.com", credentials)
    assert ModelArtsClient("http://modelarts.example.com", credentials, allow_http=True).endpoint
    password = PasswordCredentials("http://iam.example.com", "u", "p", "d", project_name="r")
    with pytest.raises(InvalidRequest, match="iam_endpoint"):
        ModelArtsClient("https://modelarts.example.com", password)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TokenCredentials("", "p"),
        lambda: TokenCredentials("two\nlines", "p"),
        lambda: TokenCredentials("t", ""),
        lambda: AccessKeyCredentials("", "s", "p"),
        lambda: AccessKeyCredentials("a", " ", "p"),
        lambda: PasswordCredentials("https://iam", "", "p", "d"),
        lambda: PasswordCredentials("https://iam", "u", "p", ""),
        lambda: ModelArtsClient("https://h", PasswordCredentials("https://iam", "u", "p", "d")),
        lambda: ModelArtsClient("https://h", "token"),
        lambda: ModelArtsClient("https://h", TokenCredentials("t", "p"), timeout=0),
        lambda: ModelArtsClient("https://h", TokenCredentials("t", "p"), timeout=(1, 2, 3)),
        lambda: ModelArtsClient("https://h", TokenCredentials("t", "p"), verify="/no/such/file.pem"),
        lambda: ModelArtsClient("https://h", TokenCredentials("t", "p"), project_id=""),
    ],
)
def test_half_filled_credentials_and_settings(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidRequest):
        make()


def test_scores_are_written_as_plain_decimals() -> None:
    assert validate_scores(0.9, 1) == ("0.9", "1")
    assert validate_scores("0.25", None) == ("0.25", None)
    assert validate_scores(1e-7, 1.0) == ("0.0000001", "1.0")
    assert validate_scores(-0.0, 0) == ("0.0", "0")
