"""The review page in a browser, in an Airflow of its own: log in, look, reject, approve; a viewer cannot decide."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest

from airflow_provider_modelarts.emulator import Emulator
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from demo.airflow_processes import AirflowProcesses
from demo.environment import EXAMPLE_DAGS
from tests.support.browser import CHROMIUM, Browser
from tests.support.leaks import leaks_in_folder
from tests.support.twelve_digits import DIGITS, EACH, twelve_digits

if TYPE_CHECKING:
    from collections.abc import Iterator

DAG_ID = "confirm_with_approval"
PASSWORDS = {"ada": "pässwörd ada", "vera": "pässwörd vera"}
PICTURES = os.environ.get("REVIEW_PICTURES")
"""A folder in which to store pictures of the page, for the documents."""


class LoggedIn(AirflowProcesses):
    """An Airflow with two users: Ada, who may decide, and Vera, who may only look."""

    def __init__(self, home: Path, **options: Any) -> None:
        home.mkdir()
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps(PASSWORDS))
        settings = {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ada:admin,vera:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }
        super().__init__(home, settings=settings, **options)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """As of any Airflow; until somebody logs in, Ada asks."""
        if self._token is None and path.startswith("/api/"):
            self.log_in("ada")
        return super().request(method, path, body)

    def log_in(self, user: str) -> None:
        """Send all further requests as a user."""
        self._token = ""
        self._token = self.request("POST", "/auth/token", {"username": user, "password": PASSWORDS[user]})[
            "access_token"
        ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LoggedIn, Emulator, Path]]:
    folder = tmp_path_factory.mktemp("review")
    with Emulator(task_seconds=1) as emulator, LoggedIn(folder / "home", dags_folder=EXAMPLE_DAGS) as airflow:
        airflow.log_in("ada")
        # In the database, not in an environment variable: so the API server must be able to read it there.
        airflow.add_connection("modelarts_default", emulator.connection)
        airflow.wait_until(lambda: airflow.knows_dag(DAG_ID), 300, "the DAG is not read")
        yield airflow, emulator, folder


def ask(airflow: LoggedIn, dataset_id: str, place: Path) -> str:
    """Start the DAG and wait until a person is asked; return the id of the run."""
    conf = {"dataset_id": dataset_id, "place": f"file://{place}", "min_score": 0.0}
    run_id: str = airflow.request("POST", f"/api/v2/dags/{DAG_ID}/dagRuns", {"logical_date": None, "conf": conf})[
        "dag_run_id"
    ]
    airflow.wait_until(
        lambda: airflow.task_state(DAG_ID, run_id, "approve") in ("awaiting_input", "deferred"), 300, "nobody is asked"
    )
    return run_id


def log_in(browser: Browser, airflow: LoggedIn, user: str) -> None:
    """Log in as a person does."""
    browser.open(f"{airflow.url}/auth/login")
    for name, text in (("username", user), ("password", PASSWORDS[user])):
        browser.wait_for(f"document.querySelector('input[name={name}]')?.focus() || true")
        browser.wait_for(f"document.activeElement?.name === '{name}'")
        browser.type(text)
    browser.run("document.querySelector('button[type=submit]').click()")
    browser.wait_for("location.pathname.indexOf('/auth/') < 0")


PAGE = "document.querySelector('iframe').contentDocument"
SAID = f"{PAGE}.getElementById('said').innerText"


def open_review(browser: Browser, airflow: LoggedIn, run_id: str) -> None:
    """Open the task and its tab, as a person does, and wait for all pictures."""
    tab = "[...document.querySelectorAll('a')].find(one => one.title === 'Review labels')"
    browser.open(f"{airflow.url}/dags/{DAG_ID}/runs/{run_id}/tasks/approve")
    browser.wait_for(f"{tab} !== undefined")
    browser.run(f"{tab}.click()")
    browser.wait_for(f"{PAGE}.querySelectorAll('li[data-sample]').length === {len(DIGITS) * EACH}")
    browser.wait_for(f"[...{PAGE}.images].every(one => one.complete && one.naturalWidth === 64)")


def shown_ids(browser: Browser, label: str) -> list[str]:
    """Return the ids of the samples on the page that have a label, in the page's order."""
    cards = f"[...{PAGE}.querySelectorAll('li[data-sample]')]"
    wanted = f"one => JSON.parse(one.dataset.labels)[0] === '{label}'"
    ids: list[str] = browser.run(f"{cards}.filter({wanted}).map(one => JSON.parse(one.dataset.sample))")
    return ids


def end_of(airflow: LoggedIn, run_id: str) -> str:
    airflow.wait_until(lambda: airflow.run_state(DAG_ID, run_id) in ("success", "failed"), 300, "the run does not end")
    return airflow.run_state(DAG_ID, run_id)


def take_pictures(browser: Browser, airflow: LoggedIn, run_id: str) -> None:
    """Store what the page shows, light and dark, if somebody wants it for the documents."""
    if PICTURES is None:
        return
    browser.size(1280, 1330)
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        open_review(browser, airflow, run_id)
        browser.wait_for(f"{SAID}.includes('2 samples, 1 labels')")
        Path(PICTURES, f"review-{scheme}.png").write_bytes(browser.screenshot())


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_what_is_rejected_on_the_page_stays_with_people_and_the_rest_is_written(
    world: tuple[LoggedIn, Emulator, Path], tmp_path: Path
) -> None:
    airflow, emulator, folder = world
    dataset_id = twelve_digits(emulator, folder / "digits")
    run_id = ask(airflow, dataset_id, tmp_path)
    dataset = emulator.dataset(dataset_id)
    before = {sample_id for sample_id, sample in dataset.samples.items() if sample.labels}
    with Browser(tmp_path / "viewer") as browser:
        log_in(browser, airflow, "vera")
        open_review(browser, airflow, run_id)
        assert "You may look at this plan, but not answer" in browser.run(f"{PAGE}.body.innerText")
        assert browser.run(f"{PAGE}.querySelectorAll('button.answer, button.reject').length") == 0
        # She may still ask Airflow itself, which refuses.
        answer = json.dumps(
            {"chosen_options": ["Approve"], "params_input": {"reject_samples": [], "reject_labels": []}}
        )
        assert (
            browser.run(
                f"fetch({PAGE}.getElementById('review').dataset.answer, {{method: 'PATCH', body: {answer!r}, "
                "headers: {'Content-Type': 'application/json'}}).then(reply => reply.status)"
            )
            == 403
        )
    with Browser(tmp_path / "decider") as browser:
        browser.size(1280, 1000)
        log_in(browser, airflow, "ada")
        open_review(browser, airflow, run_id)
        rejected = [*shown_ids(browser, "0")[:1], *shown_ids(browser, "1")[1:2]]
        expected = {one for label in ("0", "1") for one in shown_ids(browser, label)} - set(rejected)
        # The first by keys, the second by a click, the label by its button.
        browser.run("document.querySelector('iframe').focus()")
        browser.run("document.querySelector('iframe').contentWindow.focus()")
        browser.press("j")
        browser.press("x")
        browser.wait_for(f"{SAID}.includes('1 samples, 0 labels')")
        browser.run(f"{PAGE}.querySelectorAll('li[data-sample] .reject')[{EACH + 1}].click()")
        browser.run(f"[...{PAGE}.querySelectorAll('tr[data-label] .reject')].at(-1).click()")
        browser.wait_for(f"{SAID}.includes('2 samples, 1 labels')")
        take_pictures(browser, airflow, run_id)
        # What was rejected is still so after the page was left.
        open_review(browser, airflow, run_id)
        browser.wait_for(f"{SAID}.includes('2 samples, 1 labels')")
        browser.run(f"{PAGE}.querySelector('button.answer[value=Approve]').click()")
        browser.wait_for(f"{SAID}.includes('Answered: Approve')")
        assert end_of(airflow, run_id) == "success"
        open_review(browser, airflow, run_id)
        assert "Answered by ada: Approve." in browser.run(f"{PAGE}.body.innerText")
        assert browser.run(f"{PAGE}.querySelectorAll('button.answer').length") == 0
    after = {sample_id for sample_id, sample in dataset.samples.items() if sample.labels}
    assert len(expected) == 2 * EACH - 2
    assert after - before == expected
    result = airflow.xcom(DAG_ID, run_id, "confirm")
    assert (result["confirmed"], result["review"]) == (len(expected), EACH + 2)
    (header, *_) = [header for header, _ in read_ledger(tmp_path / "ledger", run_id).entries()]
    assert header.approved_by == "ada"
    secrets = {str(number): secret for number, secret in enumerate(emulator.secrets)}
    assert leaks_in_folder(airflow.home, secrets) == {}, "a secret was written down"


def test_a_plan_that_is_made_again_is_not_approved_by_an_answer_about_the_old_one(
    world: tuple[LoggedIn, Emulator, Path], tmp_path: Path
) -> None:
    airflow, emulator, _ = world
    dataset_id = emulator.load_proposals(40)
    run_id = ask(airflow, dataset_id, tmp_path)
    first = airflow.xcom(DAG_ID, run_id, "plan", "plan_digest")
    emulator.clock.advance(1)
    airflow.clear_tasks(DAG_ID, run_id, ["plan"])

    def is_new() -> bool:
        with contextlib.suppress(HTTPError):
            return bool(airflow.xcom(DAG_ID, run_id, "plan", "plan_digest") != first)
        return False

    airflow.wait_until(is_new, 300, "the plan is not made again")
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    answer = {"chosen_options": ["Approve"], "params_input": {"reject_samples": [], "reject_labels": []}}
    airflow.request("PATCH", path, answer)
    assert end_of(airflow, run_id) == "failed"
    assert airflow.task_state(DAG_ID, run_id, "approve") == "failed"
    assert emulator.dataset(dataset_id).annotated == 0
