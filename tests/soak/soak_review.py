"""The review page in a browser, in an Airflow of its own: log in, look, reject, approve; a viewer cannot decide.

And approval in mapped task groups: each answer counts for the dataset that was asked about.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from airflow_provider_modelarts.emulator import Emulator
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from demo.environment import EXAMPLE_DAGS
from tests.soak.soak_approval import let_the_scheduler_see
from tests.soak.sqlite_airflow import SqliteAirflow
from tests.support.browser import CHROMIUM, Browser
from tests.support.leaks import leaks_in_folder
from tests.support.twelve_digits import DIGITS, EACH, twelve_digits

if TYPE_CHECKING:
    from collections.abc import Iterator

DAG_ID = "confirm_with_approval"
MAPPED = "mapped_approval"
PASSWORDS = {"ada": "pässwörd ada", "bob": "pässwörd bob", "vera": "pässwörd vera"}
WAITING = ("awaiting_input", "deferred")
PICTURES = os.environ.get("REVIEW_PICTURES")
"""A folder in which to store pictures of the page, for the documents."""


class LoggedIn(SqliteAirflow):
    """An Airflow with three users: Ada and Bob, who may decide, and Vera, who may only look."""

    def __init__(self, home: Path, **options: Any) -> None:
        home.mkdir()
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps(PASSWORDS))
        settings = {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ada:admin,bob:admin,vera:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }
        super().__init__(home, settings=settings, **options)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """As of any Airflow; until somebody logs in, Ada asks."""
        if self._token is None and path.startswith("/api/"):
            self.log_in("ada")
        return super().request(method, path, body)

    def page(self, path: str) -> str:
        """Return the HTML of a page, asked for as a browser of the user does: with the cookie."""
        request = Request(self.url + path, headers={"Cookie": f"_token={self._token}"})
        with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def log_in(self, user: str) -> None:
        """Send all further requests as a user."""
        self._token = ""
        self._token = self.request("POST", "/auth/token", {"username": user, "password": PASSWORDS[user]})[
            "access_token"
        ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LoggedIn, Emulator, Path]]:
    folder = tmp_path_factory.mktemp("review")
    dags = folder / "dags"
    dags.mkdir()
    for path in (EXAMPLE_DAGS / f"{DAG_ID}.py", Path(__file__).parent / "dags" / f"{MAPPED}.py"):
        shutil.copy(path, dags)
    with Emulator(task_seconds=1) as emulator, LoggedIn(folder / "home", dags_folder=dags) as airflow:
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
    airflow.wait_until(lambda: airflow.task_state(DAG_ID, run_id, "approve") in WAITING, 300, "nobody is asked")
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


class MappedGroup(NamedTuple):
    """One mapped run of a task group that asks.

    :param prefix: id of the group
    :param map_index: which of its runs
    :param dataset_id: the dataset that it is about
    :param approver: who approves
    :param digest: of its plan
    :param planned: ids of all samples of the plan
    :param confirms: names of labels of each sample that the plan would confirm, as the service proposes them
    :param rejected: ids of those of them that the approver rejects
    :param labeled_before: ids of samples that had labels before
    """

    prefix: str
    map_index: int
    dataset_id: str
    approver: str
    digest: str
    planned: frozenset[str]
    confirms: dict[str, list[str]]
    rejected: list[str]
    labeled_before: frozenset[str]

    @property
    def expected(self) -> dict[str, list[str]]:
        """Names of labels of each sample that must be written."""
        return {one: names for one, names in self.confirms.items() if one not in self.rejected}


ANSWERS = {0: ("ada", 1), 1: ("bob", 0)}
"""By map index: who approves, and how many samples that person rejects."""


def mapped_group(
    airflow: LoggedIn, emulator: Emulator, run_id: str, prefix: str, map_index: int, dataset_id: str
) -> MappedGroup:
    """Return what a mapped run of a group asks, from its plan and from what the service proposes."""
    made, digest = (
        airflow.xcom(MAPPED, run_id, f"{prefix}.plan", key, map_index=map_index)
        for key in ("return_value", "plan_digest")
    )
    plan = read_plan(Path(made["plan_uri"].removeprefix("file://")))
    planned = frozenset(one.row.sample_id for one in plan.samples())
    assert (plan.header.dataset_id, plan.digest) == (dataset_id, digest)
    dataset = emulator.dataset(dataset_id)
    confirms = {
        sample_id: [label["name"] for label in proposal["labels"]]
        for sample_id, proposal in dataset.proposals.items()
        if plan.confirms(sample_id)
    }
    approver, rejects = ANSWERS[map_index]
    labeled = frozenset(sample_id for sample_id, sample in dataset.samples.items() if sample.labels)
    rejected = sorted(confirms)[:rejects]
    return MappedGroup(prefix, map_index, dataset_id, approver, digest, planned, confirms, rejected, labeled)


def check_question(airflow: LoggedIn, run_id: str, group: MappedGroup) -> None:
    """Check that the person is shown the plan of this dataset, on both pages."""
    task_id = f"{group.prefix}.approve"
    question = airflow.request("GET", hitl_path(run_id, group))
    summary = airflow.xcom(MAPPED, run_id, f"{group.prefix}.plan", "summary", map_index=group.map_index)
    assert question["body"] == summary
    page = airflow.page(f"/modelarts-review/dags/{MAPPED}/runs/{quote(run_id)}/tasks/{task_id}/{group.map_index}/")
    assert f'data-digest="{group.digest}"' in page
    assert f"<code>{group.dataset_id}</code>" in page
    shown = {json.loads(unescape(one)) for one in re.findall("""data-sample=['"](.+?)['"][ >]""", page)}
    assert len(shown) > 1
    assert shown <= group.planned


def hitl_path(run_id: str, group: MappedGroup) -> str:
    task = f"{group.prefix}.approve/{group.map_index}"
    return f"/api/v2/dags/{MAPPED}/dagRuns/{run_id}/taskInstances/{task}/hitlDetails"


def check_written(airflow: LoggedIn, emulator: Emulator, place: Path, run_id: str, group: MappedGroup) -> None:
    """Check that the dataset holds exactly what was approved of it, and the ledger says by whom."""
    dataset = emulator.dataset(group.dataset_id)
    now = {sample_id for sample_id, sample in dataset.samples.items() if sample.labels}
    assert now - group.labeled_before == set(group.expected)
    assert {one: dataset.names_of(one) for one in group.expected} == group.expected
    assert set(group.rejected) <= set(dataset.proposals)
    confirmed = airflow.xcom(MAPPED, run_id, f"{group.prefix}.confirm", map_index=group.map_index)
    planned = airflow.xcom(MAPPED, run_id, f"{group.prefix}.plan", map_index=group.map_index)
    assert confirmed["confirmed"] == len(group.expected)
    assert confirmed["review"] == planned["review"] + len(group.rejected)
    written = [
        (header, entry)
        for header, entry in read_ledger(place / "ledger", run_id).entries()
        if header.dataset_id == group.dataset_id
    ]
    assert {header.approved_by for header, _ in written} == {group.approver}
    assert {(header.task_id, header.map_index) for header, _ in written} == {
        (f"{group.prefix}.confirm", group.map_index)
    }
    assert {entry.sample_id for _, entry in written if entry.fate == "confirmed"} == set(group.expected)


def test_mapped_groups_are_each_answered_about_their_own_dataset(
    world: tuple[LoggedIn, Emulator, Path], tmp_path: Path
) -> None:
    airflow, emulator, _ = world
    datasets = {
        "by_output": [emulator.load_proposals(30 + index, labels=[f"a{index}", f"b{index}"]) for index in (0, 1)],
        "by_id": [emulator.load_proposals(40 + index, labels=[f"c{index}", f"d{index}"]) for index in (0, 1)],
        "ready_made": [emulator.load_digits(150 + index) for index in (0, 1)],
    }
    prefixes = {"by_output": "by_output", "by_id": "by_id", "ready_made": "ready_made.label_and_confirm"}
    asking = {(f"{prefix}.approve", index) for prefix in prefixes.values() for index in (0, 1)}
    run_id = airflow.trigger(MAPPED, {"place": f"file://{tmp_path}", "datasets": datasets})

    def all_ask() -> bool:
        found = airflow.task_instances(MAPPED, run_id)
        waiting = {(one["task_id"], one["map_index"]) for one in found if one["state"] in WAITING}
        assert not [one["task_id"] for one in found if one["state"] in ("failed", "upstream_failed")]
        return asking <= waiting

    airflow.wait_until(all_ask, 300, "not every group asks")
    let_the_scheduler_see(airflow)
    groups = [
        mapped_group(airflow, emulator, run_id, prefix, index, dataset_id)
        for way, prefix in prefixes.items()
        for index, dataset_id in enumerate(datasets[way])
    ]
    # The second first: an answer is not that of whoever was asked first.
    for group in sorted(groups, key=lambda one: -one.map_index):
        airflow.log_in(group.approver)
        check_question(airflow, run_id, group)
        answer = {
            "chosen_options": ["Approve"],
            "params_input": {"reject_samples": group.rejected, "reject_labels": []},
        }
        airflow.request("PATCH", hitl_path(run_id, group), answer)
    airflow.log_in("ada")
    assert airflow.wait_for_run(MAPPED, run_id, within=300) == "success"
    for group in groups:
        check_written(airflow, emulator, tmp_path, run_id, group)
