"""The review page in a browser, in an Airflow of its own: log in, look, reject, approve; a viewer cannot decide."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.emulator import Emulator
from demo.airflow_processes import AirflowProcesses
from demo.environment import EXAMPLE_DAGS
from tests.support.browser import CHROMIUM, Browser

if TYPE_CHECKING:
    from collections.abc import Iterator

DAG_ID = "confirm_with_approval"
PASSWORDS = {"ada": "pässwörd ada", "vera": "pässwörd vera"}
DIGITS = ("0", "1", "2")
EACH = 4
TRAINING = 12
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


def twelve_digits(emulator: Emulator, folder: Path) -> str:
    """Make a dataset with twelve pictures for which the machine proposes labels; return its id."""
    from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
    from airflow_provider_modelarts.emulator.data.images import Digits

    digits = Digits()
    for digit in DIGITS:
        found = [index for index, target in enumerate(digits.targets) if target == digit][: TRAINING + EACH]
        for number, index in enumerate(found):
            place = folder / (digit if number < TRAINING else "unlabeled")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"digit_{index:04d}.png").write_bytes(digits.png(index))
    dataset_id = emulator.load_folder(folder)
    credentials = PasswordCredentials(
        emulator.url, emulator.user, emulator.password, emulator.domain, project_name=emulator.region
    )
    with ModelArtsClient(emulator.url, credentials) as client:
        client.tasks.wait(dataset_id, client.tasks.start(dataset_id), timeout=60, poll_interval=0.2)
    return dataset_id


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


def open_review(browser: Browser, airflow: LoggedIn, run_id: str) -> None:
    """Open the task and its tab, as a person does."""
    browser.open(f"{airflow.url}/dags/{DAG_ID}/runs/{run_id}/tasks/approve")
    browser.wait_for("[...document.querySelectorAll('a')].find(one => one.innerText.includes('Review labels'))")
    browser.run("[...document.querySelectorAll('a')].find(one => one.innerText.includes('Review labels')).click()")
    browser.wait_for(f"{PAGE}.querySelectorAll('li[data-sample]').length")
    browser.wait_for(f"[...{PAGE}.images].every(one => one.complete && one.naturalWidth)")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_two_samples_and_a_label_are_rejected(world: tuple[LoggedIn, Emulator, Path], tmp_path: Path) -> None:
    airflow, emulator, folder = world
    dataset_id = twelve_digits(emulator, folder / "digits")
    run_id = ask(airflow, dataset_id, tmp_path)
    with Browser(tmp_path / "profile") as browser:
        log_in(browser, airflow, "ada")
        open_review(browser, airflow, run_id)
        print(browser.run(f"{PAGE}.body.innerText"))
        Path("/tmp/shot.png").write_bytes(browser.screenshot())
