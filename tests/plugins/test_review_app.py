"""The review page and those who attack it: what may be seen, by whom, and that nothing is shown but the task's plan."""

from __future__ import annotations

import html
import json
import re
import time
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.labeling.plan.plan_file import ACTIONS, PlanHeader, PlanWriter
from airflow_provider_modelarts.labeling.policy import Decision
from airflow_provider_modelarts.plugins import pictures
from tests.labeling.export_datasets import FEATURES, place
from tests.plugins.review_run import ReviewRun, shown_ids
from tests.plugins.test_boxes import BAD
from tests.support.twelve_digits import twelve_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from airflow_provider_modelarts.client import Sample
    from airflow_provider_modelarts.emulator import Emulator

Begin = "Callable[..., ReviewRun]"
POLICY = {"min_score": 0.6}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def picture_of(run: ReviewRun, position: int | str = 0) -> str:
    return f"pictures/{run.place['plan_digest']}/{position}"


@pytest.fixture
def run(begin: Callable[..., ReviewRun], emulator: Emulator) -> ReviewRun:
    return begin(emulator.load_proposals(120, hard_share=0.2), policy=POLICY)


@pytest.fixture
def digits(begin: Callable[..., ReviewRun], emulator: Emulator, tmp_path: Path) -> ReviewRun:
    return begin(twelve_digits(emulator, tmp_path / "digits"))


# --- what is shown


def test_a_plan_is_shown_fifty_at_a_time_by_label_and_score(run: ReviewRun) -> None:
    pages = [run.get(page=number) for number in range(3)]
    assert [one.status_code for one in pages] == [200, 200, 200]
    shown = [shown_ids(one.text) for one in pages]
    assert [len(one) for one in shown] == [50, 50, 20]
    planned = {one.sample.sample_id: one.sample for one in run.plan.samples()}
    order = [planned[sample_id] for page in shown for sample_id in page]
    assert len({one.sample_id for one in order}) == len(planned) == 120
    assert order == sorted(order, key=lambda one: (one.label_names[0], one.labels[0].score))
    assert run.place["plan_digest"] in pages[0].text
    counts = run.plan.counts
    assert f"<b>{counts['confirm']}</b> of 120 proposals would be confirmed" in pages[0].text
    assert "hard example" in "".join(one.text for one in pages)


def test_filters_choose_by_label_decision_and_score(run: ReviewRun) -> None:
    planned = list(run.plan.samples())
    names = sorted({one.sample.label_names[0] for one in planned})
    page = run.get(label=1, decision="review", low=0.2, high=0.7)
    expected = {
        one.sample.sample_id
        for one in planned
        if one.sample.label_names == [names[1]]
        and one.decision.action == "review"
        and 0.2 <= one.sample.labels[0].score <= 0.7
    }
    assert set(shown_ids(page.text)) == expected
    assert expected
    assert f"{len(expected)} samples. Keys" in page.text


@pytest.mark.parametrize(
    "query", [{"label": "99"}, {"label": "-1"}, {"decision": "delete"}, {"low": "nan"}, {"high": "2"}]
)
def test_a_filter_that_makes_no_sense_is_refused(run: ReviewRun, query: dict[str, str]) -> None:
    assert run.get(**query).status_code == 422


def test_the_task_that_planned_shows_its_plan_and_takes_no_answer(run: ReviewRun) -> None:
    page = run.client().get(run.page.replace("/approve/-1/", "/plan/%7BMAP_INDEX%7D/"))
    assert page.status_code == 200
    assert len(shown_ids(page.text)) == 50
    assert "Answer on the task that asks" in page.text
    assert "<button" not in page.text.replace("<button>Show</button>", "")


def test_a_task_without_a_plan_says_so(run: ReviewRun) -> None:
    page = run.client().get(run.page.replace("/approve/", "/other/"))
    assert page.status_code == 404
    assert "no plan to review here" in page.text


def test_answers_to_the_audit_can_be_given_where_samples_were_drawn(
    begin: Callable[..., ReviewRun], emulator: Emulator
) -> None:
    run = begin(emulator.load_proposals(60, hard_share=0), policy={"audit_share": 0.3})
    page = run.get(decision="review").text
    drawn = {one.sample.sample_id for one in run.plan.samples() if one.decision.rule == "audit_sample"}
    assert drawn
    assert set(shown_ids(page)) == drawn
    assert page.count('class="wrong"') == len(drawn)
    assert "audit_answers" in page


# --- access

ROUTES = ("", "state", "pictures/{digest}/0")


@pytest.mark.parametrize("route", ROUTES)
def test_who_has_not_logged_in_sees_nothing(run: ReviewRun, route: str) -> None:
    answer = run.get(route.format(digest=run.place["plan_digest"]), user=None)
    assert answer.status_code == 401
    assert run.dataset_id not in answer.text


@pytest.mark.parametrize("route", ROUTES)
def test_who_may_not_see_the_dag_sees_nothing(run: ReviewRun, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    manager = get_auth_manager()
    asked = []

    def is_authorized_dag(*, method: str, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        asked.append((method, str(access_entity), details.id))
        return False

    monkeypatch.setattr(manager, "is_authorized_dag", is_authorized_dag)
    answer = run.get(route.format(digest=run.place["plan_digest"]))
    assert answer.status_code == 403
    assert run.dataset_id not in answer.text
    assert [(method, dag_id) for method, _, dag_id in asked] == [("GET", run.dag_id)]
    assert "HITL_DETAIL" in asked[0][1]


def test_no_route_writes(run: ReviewRun) -> None:
    for route in ROUTES:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            path = run.page + route.format(digest=run.place["plan_digest"])
            assert run.client().request(method, path).status_code == 405


def test_a_viewer_may_look_and_not_answer(run: ReviewRun) -> None:
    page = run.get(user="vera")
    assert page.status_code == 200
    assert "You may look at this plan, but not answer" in page.text
    assert "reject the label" not in page.text
    assert 'class="answer"' not in page.text
    assert run.answer(user="vera").status_code == 403
    assert run.get("state").json()["is_waiting"] is True


def test_an_answer_counts_once(run: ReviewRun) -> None:
    assert 'class="answer" value="Approve"' in run.get().text
    assert run.answer(reject_labels=["rose"]).status_code == 200
    assert run.answer("Reject").status_code == 409
    state = run.get("state").json()
    assert (state["is_waiting"], state["answered_by"]) == (False, "ada")
    page = run.get().text
    assert "Answered by <bdi>ada</bdi>: Approve." in page
    assert 'class="answer"' not in page


def test_an_answer_after_the_time_was_up_has_no_button(run: ReviewRun) -> None:
    run.set_state("failed")
    assert run.get("state").json()["is_waiting"] is False
    page = run.get().text
    assert "no longer waits for an answer" in page
    assert 'class="answer"' not in page


# --- other plans and other samples


def write_plan(file: Path, header: PlanHeader, samples: Iterable[Sample]) -> str:
    with PlanWriter(file, header) as writer:
        for sample in samples:
            writer.add(sample, Decision("confirm", "passed"))
    return writer.plan().digest


def test_a_plan_that_was_replaced_is_not_shown(run: ReviewRun) -> None:
    assert run.get().status_code == 200
    samples = [one.sample for one in run.plan.samples()][:3]
    digest = write_plan(run.file, run.plan.header, samples)
    assert run.get("state").json()["digest"] == digest != run.place["plan_digest"]
    page = run.get().text
    assert "The plan was replaced since this question was asked" in page
    assert 'class="answer"' not in page


def test_a_plan_that_was_made_again_by_its_task_is_not_answered_by_the_old_question(run: ReviewRun) -> None:
    samples = [one.sample for one in run.plan.samples()][:3]
    digest = write_plan(run.file, run.plan.header, samples)
    run.push("plan", {**run.place, "plan_digest": digest})
    assert run.get("state").json()["digest"] is None
    page = run.get().text
    assert "The plan was replaced since this question was asked" in page
    assert 'class="answer"' not in page


def test_a_plan_that_was_replaced_before_anybody_looked_is_refused(run: ReviewRun) -> None:
    samples = [one.sample for one in run.plan.samples()][:3]
    write_plan(run.file, run.plan.header, samples)
    page = run.get()
    assert page.status_code == 409
    assert "it is not the one with the digest" in page.text
    assert shown_ids(page.text) == []


def test_a_plan_that_is_cut_off_or_gone_is_refused(run: ReviewRun) -> None:
    whole = run.file.read_bytes()
    run.file.write_bytes(whole[:-2000])
    assert run.get().status_code == 409
    run.file.unlink()
    assert run.get().status_code == 409
    assert run.get("state").json()["digest"] is None
    run.file.write_bytes(whole[:-10])  # only its seal is broken: it can be shown, and not be approved
    page = run.get()
    assert 'class="answer"' not in page.text
    assert run.get("state").json()["digest"] is None


def test_the_plan_of_another_task_is_not_shown(
    run: ReviewRun, begin: Callable[..., ReviewRun], emulator: Emulator
) -> None:
    """As if somebody had written the place of another DAG's plan into the XCom."""
    other = begin(emulator.load_proposals(30))
    run.push("plan", other.place)
    run.push("approve", {"plan_task_id": "plan", "plan_digest": other.place["plan_digest"]})
    page = run.get()
    assert page.status_code == 403
    assert shown_ids(page.text) == []
    assert run.get(picture_of(other)).status_code == 403


@pytest.mark.parametrize(
    "value", ["file:///etc/passwd", {"plan_uri": "file:///etc/passwd"}, {"plan_task_id": 7}, None, ["plan"]]
)
def test_an_xcom_that_is_no_plan_is_none(run: ReviewRun, value: Any) -> None:
    run.push("approve", value)
    assert run.get().status_code == 404


def test_a_file_that_is_no_plan_is_not_shown(run: ReviewRun) -> None:
    run.push("plan", {**run.place, "plan_uri": "file:///etc/passwd"})
    page = run.get()
    assert page.status_code == 409
    assert "root:" not in page.text


def test_a_storage_that_cannot_be_reached_is_named(run: ReviewRun) -> None:
    run.push("plan", {**run.place, "plan_uri": "s3://nobody_knows@bucket/plan.jsonl"})
    for route in ("", "state"):
        answer = run.get(route)
        assert answer.status_code == 502
        assert "nobody_knows" in answer.text


def test_a_connection_that_the_api_server_does_not_know_leaves_the_pictures_out(run: ReviewRun) -> None:
    run.push("plan", {**run.place, "modelarts_conn_id": "nobody_knows"})
    assert run.get().status_code == 200
    picture = run.get(picture_of(run))
    assert picture.status_code == 502
    assert "Airflow does not know the connection" in picture.text


@pytest.mark.parametrize("part", ["dag_id", "run_id"])
def test_a_wildcard_of_airflows_api_finds_nothing(run: ReviewRun, part: str) -> None:
    assert run.client().get(run.page.replace(getattr(run, part), "~")).status_code == 404


def test_nothing_in_the_address_names_a_plan(
    run: ReviewRun, begin: Callable[..., ReviewRun], emulator: Emulator
) -> None:
    other = begin(emulator.load_proposals(30))
    page = run.get(plan_uri=other.place["plan_uri"], plan_digest=other.place["plan_digest"], plan_task_id="x")
    assert page.status_code == 200
    assert other.dataset_id not in page.text


# --- pictures


def test_pictures_come_by_a_fresh_address_and_stay_in_the_browser(digits: ReviewRun) -> None:
    digits.emulator.clock.advance(7 * 86_400)  # the addresses of the plan's own time are of no use any more
    planned = [one.sample.sample_id for one in digits.plan.samples()]
    for position in range(len(planned)):
        picture = digits.get(picture_of(digits, position))
        assert picture.status_code == 200
        assert picture.headers["content-type"] == "image/png"
        assert picture.headers["cache-control"].startswith("private, max-age=")
        assert picture.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in picture.headers["content-security-policy"]
        assert picture.content.startswith(b"\x89PNG")
    text = digits.get().text
    assert "Signature" not in text
    assert "AccessKeyId" not in text


@pytest.mark.parametrize(
    "position",
    ["12", "-1", "99999999999999999999", "9" * 5_000, "0x1", "abc", "..%2F..%2Fetc%2Fpasswd", "٣", "%00", "1/../../x"],
)
def test_only_samples_of_the_plan_have_pictures(digits: ReviewRun, position: str) -> None:
    before = len(digits.emulator.journal)
    picture = digits.get(picture_of(digits, position))
    assert picture.status_code == 404
    assert len(digits.emulator.journal) == before, "the service was asked"


def test_a_picture_of_another_plan_is_not_to_be_had(digits: ReviewRun, run: ReviewRun) -> None:
    assert digits.get(picture_of(run)).status_code == 404


class OddImages:
    """Pictures that are none, in the place of a dataset's own."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def png(self, index: int) -> bytes:
        return self._content


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (SVG, 415),
        (b"<html><script>alert(1)</script>", 415),
        (b"", 415),
        (b"GIF89a<script>alert(1)</script>", 200),  # a picture for the browser, whatever else is in it
        (b"\x89PNG\r\n\x1a\n" + bytes(10 << 20), 413),
    ],
    ids=["svg", "html", "nothing", "gif", "10 MB"],
)
def test_what_is_no_picture_is_not_handed_on(digits: ReviewRun, content: bytes, status: int) -> None:
    digits.emulator._store.datasets[digits.dataset_id].images = OddImages(content)
    answer = digits.get(picture_of(digits))
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    if status == 200:
        assert answer.headers["content-type"] == "image/gif"
    else:
        assert answer.headers["content-type"].startswith("text/plain")
        assert content[:8] not in answer.content or not content
        assert answer.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("map_index", ["9" * 30, "9" * 5_000])
def test_an_index_that_no_task_can_have_is_none(run: ReviewRun, map_index: str) -> None:
    page = run.client().get(run.page.replace("/-1/", f"/{map_index}/"))
    assert page.status_code == 404
    assert "There is no plan to review here" in page.text


def test_a_connection_that_is_gone_gives_no_picture(digits: ReviewRun) -> None:
    digits.push("plan", {**digits.place, "modelarts_conn_id": "nope"})
    answer = digits.get(picture_of(digits))
    assert answer.status_code == 502
    assert "'nope'" in answer.text


def test_a_picture_that_is_waited_for_holds_no_connection_to_airflows_database(
    digits: ReviewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow has some 15 of them: with a slow service, a few people who look would stop its whole API."""
    from airflow.utils.session import create_session
    from sqlalchemy import event

    from airflow_provider_modelarts.plugins import review_app

    out: Counter[str] = Counter()
    held: list[int] = []
    fetch = review_app.fetch
    with create_session() as session:
        pool = session.get_bind().pool

    def note_and_fetch(*args: Any) -> Any:
        held.append(out["out"] - out["in"])
        return fetch(*args)

    def note_out(*_: Any) -> None:
        out["out"] += 1

    def note_in(*_: Any) -> None:
        out["in"] += 1

    monkeypatch.setattr(review_app, "fetch", note_and_fetch)
    event.listen(pool, "checkout", note_out)
    event.listen(pool, "checkin", note_in)
    try:
        assert digits.get(picture_of(digits)).status_code == 200
    finally:
        event.remove(pool, "checkout", note_out)
        event.remove(pool, "checkin", note_in)
    assert out["out"] > 0
    assert held == [0]


def test_a_service_that_does_not_answer_gives_no_picture_and_no_address(digits: ReviewRun) -> None:
    digits.emulator.stop()
    answer = digits.get(picture_of(digits))
    assert answer.status_code == 502
    assert "Signature" not in answer.text


def test_kinds_are_told_by_the_bytes() -> None:
    assert pictures.kind_of(b"RIFF\x00\x00\x00\x00WEBPVP8 ") == "image/webp"
    assert pictures.kind_of(b"RIFF\x00\x00\x00\x00AVI ") is None
    assert pictures.kind_of(b"\xff\xd8\xff\xe0") == "image/jpeg"
    assert pictures.kind_of(b"  <svg>") is None


# --- names of labels

NAMES = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "' onfocus='alert(1)",
    '" autofocus onfocus="alert(1)',
    "[click](javascript:alert(1))",
    "{{ 7 * 7 }}",
    "\u202eesrever\u202c",
    "line\r\nbreak",
    "&lt;b&gt;",
)


class Tags(HTMLParser):
    """Collects the tags of a page as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_names_of_labels_never_act(begin: Callable[..., ReviewRun], emulator: Emulator) -> None:
    run = begin(emulator.load_proposals(200, labels=list(NAMES)))
    plain = begin(emulator.load_proposals(200))
    known = {(tag, name) for tag, attributes in Tags(plain.get().text).found for name in attributes}
    for number in range(4):
        page = run.get(page=number)
        tags = Tags(page.text).found
        assert {(tag, name) for tag, attributes in tags for name in attributes} <= known
        assert [tag for tag, _ in tags].count("script") == 1, "the page's own"
        # What is sent back is the name itself, to the last character.
        assert {
            json.loads(attributes["data-label"] or "") for _, attributes in tags if "data-label" in attributes
        } == set(NAMES)
        assert "unsafe" not in page.headers["content-security-policy"]
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "{{ 7 * 7 }}" in page.text


def test_the_policy_lets_the_pages_own_script_and_style_run(run: ReviewRun) -> None:
    from base64 import b64encode
    from hashlib import sha256

    page = run.get()
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page.text, re.DOTALL)
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in page.headers["content-security-policy"]
    assert not re.search(r"""(src|href|action)=["']?(https?:)?//""", page.text), "nothing from elsewhere"


# --- boxes


def show_samples(run: ReviewRun, labels: list[list[dict[str, Any]]], size: Any = (640, 480)) -> None:
    """Let the run have a plan with these labels, by turns to be confirmed, reviewed and left."""
    from airflow_provider_modelarts.client import Sample

    metadata = {} if size is None else {"@modelarts:size": list(size)}
    with PlanWriter(run.file, run.plan.header) as writer:
        for number, given in enumerate(labels):
            sample = Sample({"sample_id": f"s{number}", "labels": given, "metadata": metadata})
            writer.add(sample, Decision(ACTIONS[number % 3], "passed"))  # type: ignore[arg-type]
    digest = writer.plan().digest
    run.push("plan", {**run.place, "plan_digest": digest})
    run.push("approve", {"plan_task_id": "plan", "plan_digest": digest})


def shown_titles(text: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(r"<title>(\d.*?)</title>", text, re.DOTALL)]


DRAWN = {"rect", "circle", "polygon", "polyline"}


def test_each_kind_of_box_is_drawn_with_number_name_and_score(run: ReviewRun) -> None:
    show_samples(run, [[{**place("rose", shape), "score": 0.5} for shape in FEATURES]])
    page = run.get().text
    tags = Tags(page).found
    assert Counter(tag for tag, _ in tags if tag in DRAWN) == {"rect": 1, "polygon": 1, "circle": 1, "polyline": 4}
    assert [attributes["viewbox"] for tag, attributes in tags if tag == "svg"] == ["0 0 640 480"]
    assert sorted(shown_titles(page)) == sorted(
        f"{number}: {shape} 0.500 \u2068rose\u2069" for number, shape in enumerate(FEATURES, 1)
    )
    for number in range(1, len(FEATURES) + 1):
        assert f'{number}: <bdi class="label">rose</bdi> 0.500' in page
        assert re.search(rf"<text [^>]*>{number}</text>", page)
    assert '<p class="undrawn"></p>' in page


def test_the_decision_is_seen_from_the_boxes(run: ReviewRun) -> None:
    """A box takes colour and line from the class of its card, and each class has its own."""
    show_samples(run, [[place("rose", "bndbox")] for _ in ACTIONS])
    page = run.get().text
    cards = re.findall(r'<li tabindex="-1" class="(\w+)".*?</li>', page, re.DOTALL)
    assert sorted(cards) == sorted(ACTIONS)
    lines = {re.search(rf"\.{action} {{ (--box: [^}}]*)}}", page).group(1) for action in ACTIONS}  # type: ignore[union-attr]
    assert len(lines) == len(ACTIONS)


def test_what_cannot_be_drawn_is_said_and_the_page_stands(run: ReviewRun) -> None:
    bad = [label for label, _ in BAD]
    show_samples(run, [[place("rose", "bndbox"), one] for one in bad] + [[place("rose", "bndbox")]])
    page = run.get().text
    assert len(shown_ids(page)) == len(bad) + 1
    assert page.count("Cannot be drawn: 2 (") == len(bad)
    assert Counter(tag for tag, _ in Tags(page).found if tag in DRAWN) == {"rect": len(bad) + 1}
    assert "NaN" not in page
    assert "inf" not in "".join(re.findall("<svg.*?</svg>", page, re.DOTALL))


def test_without_a_size_the_list_says_that_there_are_no_boxes(run: ReviewRun) -> None:
    show_samples(run, [[place("rose", "bndbox"), place("rose", "point")]], size=None)
    page = run.get().text
    assert "<svg" not in page
    assert "Cannot be drawn: 1, 2 (the service does not say how large the picture is)." in page
    assert '1: <bdi class="label">rose</bdi>' in page


def test_a_picture_without_boxes_is_shown_as_before(run: ReviewRun) -> None:
    page = run.get().text
    assert "<svg" not in page
    assert page.count('<p class="undrawn"></p>') == 50
    assert '1: <bdi class="label">' not in page


def test_names_of_boxes_never_act(run: ReviewRun) -> None:
    names = [*NAMES, "</title></g></svg><script>alert(1)</script>", "]]>", "<!--", "\u2069\u2066</text>"]
    show_samples(run, [[{**place(name, shape), "score": 0.5} for name in names] for shape in FEATURES])
    page = run.get()
    odd = Tags(page.text).found
    show_samples(run, [[{**place("rose", shape), "score": 0.5} for _ in names] for shape in FEATURES])
    plain = Tags(run.get().text).found
    known = {(tag, name) for tag, attributes in plain for name in attributes}
    assert {(tag, name) for tag, attributes in odd for name in attributes} <= known
    assert Counter(tag for tag, _ in odd if tag in DRAWN) == Counter(tag for tag, _ in plain if tag in DRAWN)
    assert [tag for tag, _ in odd].count("script") == 1
    titles = {title.partition("\u2068")[2].removesuffix("\u2069") for title in shown_titles(page.text)}
    assert titles == set(names)


def test_boxes_loosen_nothing_in_the_policy(run: ReviewRun) -> None:
    show_samples(run, [[place("rose", shape) for shape in FEATURES]])
    page = run.get()
    policy = dict(one.split(" ", 1) for one in page.headers["content-security-policy"].split("; "))
    assert policy.pop("script-src").startswith("'sha256-")
    assert policy.pop("style-src").startswith("'sha256-")
    assert policy == {
        "default-src": "'none'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'self'",
        "base-uri": "'none'",
    }
    names = {name for _, attributes in Tags(page.text).found for name in attributes}
    assert not {name for name in names if name == "style" or name.startswith("on") or name.endswith("href")} - {"href"}
    assert {tag for tag, attributes in Tags(page.text).found if "href" in attributes} == {"a"}


# --- many proposals


def test_a_hundred_thousand_proposals_are_indexed_once(
    run: ReviewRun, record_property: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = next(iter(run.plan.samples())).sample
    from airflow_provider_modelarts.client import Sample

    many = (
        Sample(
            {
                **sample.raw,
                "sample_id": f"{number:032x}",
                "labels": [{"name": f"l{number % 50}", "score": number / 1e5}],
            }
        )
        for number in range(100_000)
    )
    digest = write_plan(run.file, run.plan.header, many)
    run.push("plan", {**run.place, "plan_digest": digest})
    run.push("approve", {"plan_task_id": "plan", "plan_digest": digest})
    begun = time.perf_counter()
    assert len(shown_ids(run.get().text)) == 50
    first = time.perf_counter() - begun
    read = []
    from airflow_provider_modelarts.plugins import review_index

    monkeypatch.setattr(review_index, "read_plan", read.append)
    begun = time.perf_counter()
    page = run.get(label=7, low=0.5, page=3)
    again = time.perf_counter() - begun
    assert len(shown_ids(page.text)) == 50
    assert read == []
    record_property("seconds", f"first {first:.2f}, again {again:.3f}")
    print(f"first {first:.2f} s, again {again:.3f} s")
