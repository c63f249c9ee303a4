"""The page's script in a browser: what it sends, and when it sends nothing."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

from airflow_provider_modelarts.labeling.evidence.answers import answers_given
from airflow_provider_modelarts.labeling.evidence.audited_plan import AuditedPlan
from airflow_provider_modelarts.labeling.plan.plan_file import PlanWriter
from airflow_provider_modelarts.labeling.policy import Decision
from tests.support.browser import CHROMIUM, Browser
from tests.support.pictured_boxes import pictured_boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_modelarts.emulator import Emulator
    from tests.plugins.review_run import ReviewRun

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
PICTURES = os.environ.get("REVIEW_PICTURES")
"""A folder in which to store pictures of the page, for the documents."""
SAID = "document.getElementById('said').innerText"


@pytest.fixture(scope="module")
def address(site: Any) -> Iterator[str]:
    """Where a browser finds the site."""
    server = uvicorn.Server(uvicorn.Config(site, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    started = threading.Event()
    while not server.started and thread.is_alive():
        started.wait(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser in which Ada is logged in."""
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ada", role="ADMIN"))
        browser.call("Network.setCookie", {"name": "_token", "value": token, "url": address})
        yield browser


def look(browser: Browser, address: str, run: ReviewRun, query: str = "") -> None:
    browser.open(f"{address}{run.page}{query}")
    browser.wait_for(f"location.href.includes('{run.dag_id}') && document.readyState === 'complete' && {SAID}")


def answer_of(run: ReviewRun) -> Any:
    """Return what Airflow has stored as the answer."""
    return run.client().get(run.answer_path).json()


def approve(browser: Browser) -> str:
    """Click on Approve, and return what the page says then."""
    before = browser.run(SAID)
    browser.run("document.querySelector('button.answer[value=Approve]').click()")
    said: str = browser.wait_for(f"{SAID} !== {json.dumps(before)} && {SAID}")
    return said


def test_keys_reject_and_accept_and_both_fields_are_sent(
    begin: Callable[..., ReviewRun], emulator: Emulator, browser: Browser, address: str
) -> None:
    run = begin(emulator.load_proposals(20, hard_share=0))
    look(browser, address, run)
    ids = browser.run("[...document.querySelectorAll('li[data-sample]')].map(one => JSON.parse(one.dataset.sample))")
    for key in "jxjxjkxx":  # the first, the second, to the third and back: accepted and rejected again
        browser.press(key)
    browser.wait_for(f"{SAID}.includes('2 samples, 0 labels')")
    assert approve(browser) == "Answered: Approve."
    stored = answer_of(run)
    assert stored["chosen_options"] == ["Approve"]
    assert stored["params_input"] == {"reject_samples": ids[:2], "reject_labels": [], "audit_answers": {}}


def test_names_of_labels_come_back_to_the_last_character(
    begin: Callable[..., ReviewRun], emulator: Emulator, browser: Browser, address: str
) -> None:
    names = ["line\r\nbreak", "' onfocus='x", '"quoted"', "&lt;b&gt;", "\u202eesrever", "</script>"]
    run = begin(emulator.load_proposals(60, labels=names, hard_share=0))
    look(browser, address, run)
    browser.run("document.querySelectorAll('tr[data-label] .reject').forEach(one => one.click())")
    browser.wait_for(f"{SAID}.includes('{len(names)} labels')")
    assert approve(browser) == "Answered: Approve."
    assert set(answer_of(run)["params_input"]["reject_labels"]) == set(names)


def test_answers_to_the_audit_are_what_the_evidence_reads(
    begin: Callable[..., ReviewRun], emulator: Emulator, browser: Browser, address: str, tmp_path: Path
) -> None:
    policy = {
        "seed": "this plan",
        "audit_size": 3,
        "target_precision": 0.9,
        "evidence_uri": f"file://{tmp_path}/evidence.jsonl",
    }
    run = begin(emulator.load_proposals(60, hard_share=0), policy=policy)
    look(browser, address, run, "?decision=review")
    count = browser.run("document.querySelectorAll('.right').length")
    assert count > 3
    browser.run("document.querySelectorAll('.right').forEach(one => one.click())")
    for number, text in enumerate(("daisy", "rose, tulip", "")):
        browser.run(
            f"(one => {{ one.value = '{text}'; one.dispatchEvent(new Event('change', {{bubbles: true}})) }})"
            f"(document.querySelectorAll('.wrong')[{number}])"
        )
    browser.wait_for(f"{SAID}.includes('Audited: {count - 1}')")
    assert approve(browser) == "Answered: Approve."
    answers = answer_of(run)["params_input"]["audit_answers"]
    values = list(answers.values())
    assert values.count("right") == count - 3
    assert ["daisy"] in values
    assert ["rose", "tulip"] in values
    assert len(answers_given(AuditedPlan(run.plan), answers)) == count - 1


LARGE = "[...document.querySelectorAll('li[data-sample]')].map(one => one.matches('[data-large]') ? 1 : 0).join('')"
FIGURES = "[...document.querySelectorAll('li[data-sample] figure')]"


def test_one_picture_at_a_time_is_large(
    begin: Callable[..., ReviewRun], emulator: Emulator, browser: Browser, address: str
) -> None:
    run = begin(pictured_boxes(emulator, 4))
    look(browser, address, run)
    small = browser.run(f"{FIGURES}[1].clientWidth")
    for action, large in (
        ("jo", "1000"),
        ("o", "0000"),
        ("\r", "1000"),
        ("jo", "0100"),
        ("click", "0010"),
        ("click", "0000"),
        ("o", "0100"),
    ):
        if action == "click":
            browser.run(f"{FIGURES}[2].querySelector('rect').dispatchEvent(new Event('click', {{bubbles: true}}))")
        else:
            for key in action:
                browser.press("Enter" if key == "\r" else key)
        assert browser.wait_for(f"{LARGE} === '{large}' && {LARGE}") == large
    assert browser.run(f"{FIGURES}[1].clientWidth") > 3 * small
    assert "Nothing is rejected so far" in browser.run(SAID)


def test_enter_on_a_button_is_for_the_button(
    begin: Callable[..., ReviewRun], emulator: Emulator, browser: Browser, address: str
) -> None:
    run = begin(pictured_boxes(emulator, 4))
    look(browser, address, run)
    browser.run("document.querySelector('li[data-sample] .reject').focus()")
    browser.press("Enter")
    browser.wait_for(f"{SAID}.includes('1 samples, 0 labels')")
    assert browser.run(LARGE) == "0000"


def take_picture(browser: Browser, scheme: str) -> None:
    """Store the first row of samples and one that is large, if somebody wants it for the documents."""
    if PICTURES is None:
        return
    browser.size(1280, 780)
    browser.run("document.querySelector('footer').remove()")
    browser.run(f"{FIGURES}[7].click()")
    clip = browser.run(
        "(([list, card]) => ({x: 0, y: list.top + scrollY - 10, width: 1280, height: card.bottom - list.top + 20}))"
        "(['.samples', '[data-large]'].map(one => document.querySelector(one).getBoundingClientRect()))"
    )
    options = {"format": "png", "captureBeyondViewport": True, "clip": {**clip, "scale": 1}}
    content = base64.b64decode(browser.call("Page.captureScreenshot", options)["data"])
    Path(PICTURES, f"review-boxes-{scheme}.png").write_bytes(content)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_boxes_lie_upon_what_they_mark(
    begin: Callable[..., ReviewRun], emulator: Emulator, browser: Browser, address: str, scheme: str
) -> None:
    run = begin(pictured_boxes(emulator, 12), policy={"min_score": 0.6})
    browser.size(1280, 1000)
    browser.prefer(scheme)
    look(browser, address, run)
    browser.wait_for("[...document.images].every(one => one.complete && one.naturalWidth === 640)")
    planned = {one.sample.sample_id: one.sample for one in run.plan.samples()}
    drawn = browser.run(
        "[...document.querySelectorAll('li[data-sample]')].map(card => [JSON.parse(card.dataset.sample),"
        " card.querySelector('img').getBoundingClientRect().toJSON(), [...card.querySelectorAll('g')].map(box =>"
        " [box.querySelector('text').textContent, getComputedStyle(box).stroke,"
        " box.querySelector('rect').getBoundingClientRect().toJSON()])])"
    )
    lines = set()
    for sample_id, picture, boxes in drawn:
        labels = planned[sample_id].labels
        assert len(boxes) == len(labels)
        for number, line, box in boxes:
            lines.add(line)
            (left, top), (right, bottom) = labels[int(number) - 1].property["@modelarts:feature"]
            scale = picture["width"] / 640
            expected = [
                picture["x"] + left * scale,
                picture["y"] + top * scale,
                (right - left) * scale,
                (bottom - top) * scale,
            ]
            assert [box[one] for one in ("x", "y", "width", "height")] == pytest.approx(expected, abs=0.1)
    assert len(lines) == 2, "one for what would be confirmed, one for what goes to people"
    take_picture(browser, scheme)


def test_boxes_are_taken_away_from_a_picture_of_another_shape(
    begin: Callable[..., ReviewRun], emulator: Emulator, browser: Browser, address: str
) -> None:
    """A photo that was turned, say: nobody knows where its boxes lie."""
    run = begin(pictured_boxes(emulator, 4, size=(480, 640)))
    look(browser, address, run)
    browser.wait_for("[...document.images].every(one => one.complete && one.naturalWidth === 480)")
    browser.wait_for("document.querySelectorAll('svg').length === 0")
    said = browser.run("[...document.querySelectorAll('.undrawn')].map(one => one.textContent)")
    assert said == ["Cannot be drawn: the picture has 480 x 640 pixels, its size says 640 x 640."] * 4


def test_nothing_is_sent_if_the_plan_was_replaced_while_somebody_looked(
    begin: Callable[..., ReviewRun], emulator: Emulator, browser: Browser, address: str
) -> None:
    run = begin(emulator.load_proposals(20))
    look(browser, address, run)
    samples = [one.sample for one in run.plan.samples()]
    with PlanWriter(run.file, run.plan.header) as writer:
        writer.add(samples[0], Decision("confirm", "passed"))
    assert "Nothing was sent: the plan was replaced" in approve(browser)
    assert answer_of(run)["response_received"] is False


@pytest.mark.parametrize("event", ["answered", "over"])
def test_nothing_is_sent_if_the_task_no_longer_waits(
    begin: Callable[..., ReviewRun], emulator: Emulator, browser: Browser, address: str, event: str
) -> None:
    run = begin(emulator.load_proposals(20))
    look(browser, address, run)
    if event == "answered":
        assert run.answer("Reject").status_code == 200
    else:
        run.set_state("failed")
    said = approve(browser)
    assert said.startswith("Nothing was sent: ")
    assert ("answered already by ada" if event == "answered" else "no longer waits") in said
    assert answer_of(run)["chosen_options"] != ["Approve"]
