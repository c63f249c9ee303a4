"""B20: passwords, tokens and presigned signatures are used, and appear nowhere.

Airflow masks what it knows to be secret. That would hide our own mistakes from these tests, so it is switched off here.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_modelarts.emulator import Emulator
from tests.support.dag_runner import DagOutcome, run_dag
from tests.support.leaks import leaks_in, leaks_in_folder, leaks_in_outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.clock import MovedClock

pytestmark = pytest.mark.usefixtures("airflow_db")

# Put together here, since Airflow stores the source of this file beside the DAGs below.
PASSWORD = "/".join(("s3ntinel-password", "with+odd=signs"))
SIGNATURE = "".join(("s3ntinel", "Signature", "0123"))


def secrets_of(emulator: Emulator) -> dict[str, str]:
    named = {f"token {number}": token for number, token in enumerate(emulator.tokens)}
    return {"password": PASSWORD, "signature": SIGNATURE, "secret key": emulator.secret_key, **named}


@pytest.fixture(autouse=True)
def _unmasked(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow._shared.secrets_masker import SecretsMasker as OfCore
    from airflow.sdk._shared.secrets_masker import SecretsMasker as OfSdk

    for masker in (OfCore, OfSdk):
        monkeypatch.setattr(masker, "add_mask", lambda *_: None)
        monkeypatch.setattr(masker, "redact", lambda _, item, *__, **___: item)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator with known secrets, whose connection lies in the metadata database."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    from tests.conftest import forget_clients

    forget_clients()
    monkeypatch.delenv("AIRFLOW_CONN_MODELARTS_DEFAULT", raising=False)
    with Emulator(seed=3, password=PASSWORD, signature=SIGNATURE) as running:
        fields = running.connection
        with create_session() as session:
            session.add(Connection("modelarts_default", **{**fields, "extra": json.dumps(fields["extra"])}))
        yield running
    with create_session() as session:
        session.query(Connection).where(Connection.conn_id == "modelarts_default").delete()
    forget_clients()


@pytest.fixture
def trigger_kwargs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What triggers were serialized to, in the order in which that happened."""
    from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger

    seen: list[Any] = []
    serialize = ModelArtsLabelTaskTrigger.serialize

    def remember(self: ModelArtsLabelTaskTrigger) -> tuple[str, dict[str, Any]]:
        seen.append(serialize(self))
        return seen[-1]

    monkeypatch.setattr(ModelArtsLabelTaskTrigger, "serialize", remember)
    return seen


def run_example(emulator: Emulator) -> DagOutcome:
    from airflow.dag_processing.dagbag import DagBag

    return run_dag(DagBag().dags["auto_label_images"], conf={"dataset_id": emulator.load_digits(labeled=150)})


def prove_use(emulator: Emulator) -> None:
    """The journal shows that the secrets did travel: else their absence elsewhere would mean nothing."""
    journal = list(emulator.journal)
    assert any(PASSWORD in json.dumps(json.loads(one.body)) for one in journal if one.path == "/v3/auth/tokens")
    tokens = set(emulator.tokens)
    assert any(one.headers.get("x-auth-token") in tokens for one in journal)
    assert any(SIGNATURE.encode() in one.response for one in journal)


def break_token(emulator: Emulator) -> None:
    emulator.faults.add("GET", "/tasks/", "expired_token")


def break_list(emulator: Emulator) -> None:
    emulator.faults.add("GET", "/auto-annotations/samples", "truncated", times=None, after=1)


def break_confirm(emulator: Emulator) -> None:
    emulator.faults.add("PUT", "/data-annotations/samples", "fail_sample", position=0)


def break_job(emulator: Emulator) -> None:
    emulator.faults.add("POST", "/tasks", "fail_task")


def break_proxy(emulator: Emulator) -> None:
    emulator.faults.add("GET", "/auto-annotations/samples", "html", times=None, after=1)


STORIES = {
    "success": (None, "success"),
    "token renewed": (break_token, "success"),
    "list cut short": (break_list, "failed"),
    "one sample refused": (break_confirm, "failed"),
    "job failed": (break_job, "failed"),
    "page of a proxy": (break_proxy, "failed"),
}


@pytest.mark.parametrize("story", STORIES)
def test_no_secret_is_left_behind(
    story: str, emulator: Emulator, moved_clock: MovedClock, trigger_kwargs: list[Any], airflow_home: Path
) -> None:
    fault, state = STORIES[story]
    if fault is not None:
        fault(emulator)
    outcome = run_example(emulator)
    assert outcome.state == state
    assert fault is None or emulator.faults.fired.total() > 0
    if story != "job failed":  # then nothing with a presigned URL is ever asked for
        prove_use(emulator)
    secrets = secrets_of(emulator)
    assert len(secrets) > 3
    assert trigger_kwargs
    assert leaks_in(trigger_kwargs, secrets) == set()
    assert leaks_in_outcome(outcome, secrets) == {}
    assert leaks_in_folder(airflow_home, secrets) == {}


def test_a_wrong_password_is_not_named(emulator: Emulator, airflow_home: Path) -> None:
    emulator.set_password("another-one")
    outcome = run_example(emulator)
    assert outcome.state == "failed"
    assert emulator.user in str(outcome.tasks["start"].error)
    assert emulator.journal.count("POST", "/v3/auth/tokens") == 1
    assert leaks_in_outcome(outcome, secrets_of(emulator)) == {}
    assert leaks_in_folder(airflow_home, secrets_of(emulator)) == {}


def test_representations_hold_no_secret(emulator: Emulator) -> None:
    from airflow_provider_modelarts.client import (
        AccessKeyCredentials,
        ModelArtsClient,
        PasswordCredentials,
        TokenCredentials,
    )

    secrets = secrets_of(emulator)
    credentials = [
        PasswordCredentials(emulator.url, emulator.user, PASSWORD, emulator.domain, project_name=emulator.region),
        AccessKeyCredentials(emulator.access_key, emulator.secret_key, emulator.project_id, security_token=SIGNATURE),
        TokenCredentials(PASSWORD, emulator.project_id),
    ]
    dataset_id = emulator.load_proposals(3)
    for one in credentials:
        with ModelArtsClient(emulator.url, one) as client:
            assert leaks_in(f"{one!r} {one} {client!r} {client}", secrets) == set()
    with ModelArtsClient(emulator.url, credentials[0]) as client:
        page = client.proposals.page(dataset_id, 0)
        assert SIGNATURE in json.dumps(page.items[0].raw), "the sample does come with a presigned URL"
        assert leaks_in(f"{page.items[0].origin}", secrets) == set()


# --- the search itself: a leak planted in each place is found

PLANTED = "planted-s3cret-0123456789"


class LeakingTrigger(BaseTrigger):
    def __init__(self, secret: str) -> None:
        super().__init__()
        self.secret = secret

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "tests.test_leaks.LeakingTrigger", {"secret": self.secret}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent({})


class Leaking(BaseOperator):
    template_fields = ("field",)

    def __init__(self, place: str, field: str = "", **parameters: Any) -> None:
        super().__init__(**parameters)
        self.place = place
        self.field = field

    def execute(self, context: Any) -> Any:
        if self.place == "log":
            self.log.info("using %s", PLANTED)
        elif self.place == "XCom":
            return {"token": PLANTED}
        elif self.place == "exception":
            raise ValueError("inner") from RuntimeError(PLANTED)
        return None


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("log", {"log"}),
        ("XCom", {"task: XCom"}),
        ("exception", {"log", "task: exception"}),
        ("rendered fields", {"task: rendered fields"}),
        ("nowhere", set()),
    ],
)
def test_a_leak_of_a_task_is_found(place: str, found: set[str]) -> None:
    with DAG(f"leaking_{place.replace(' ', '_')}", schedule=None) as dag:
        Leaking(task_id="task", place=place, field=PLANTED if place == "rendered fields" else "")
    outcome = run_dag(dag)
    assert set(leaks_in_outcome(outcome, {"planted": PLANTED})) == found


def test_a_leak_in_trigger_kwargs_is_found() -> None:
    assert leaks_in([LeakingTrigger(PLANTED).serialize()], {"planted": PLANTED}) == {"planted"}


@pytest.mark.parametrize("checkpointed", [True, False])
def test_a_leak_in_the_database_is_found_in_the_file_or_its_log(tmp_path: Path, checkpointed: bool) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "airflow.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("CREATE TABLE trigger (kwargs TEXT)")
        connection.execute("INSERT INTO trigger VALUES (?)", (json.dumps({"token": PLANTED}),))
        connection.commit()
        if checkpointed:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        found = leaks_in_folder(tmp_path, {"planted": PLANTED})
    assert found == {"airflow.db" if checkpointed else "airflow.db-wal": {"planted"}}


@pytest.mark.parametrize(
    "disguise",
    [
        lambda secret: (
            f"https://obs/image?x=1&Signature={secret.replace('/', '%2F').replace('+', '%2B').replace('=', '%3D')}"
        ),
        lambda secret: json.dumps({"nested": [secret]}),
        lambda secret: __import__("base64").b64encode(f"user:{secret}".encode()).decode(),
        lambda secret: ValueError("outer", secret),
    ],
    ids=["url", "json", "base64", "exception"],
)
def test_a_disguised_leak_is_found(disguise: Any) -> None:
    assert leaks_in(disguise(PASSWORD), {"password": PASSWORD, "other": PLANTED}) == {"password"}
