"""Tokens and keys: B8, contract 1."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_modelarts.client import AccessKeyCredentials, PasswordCredentials, TokenCredentials
from airflow_provider_modelarts.client.auth import password as tokens
from airflow_provider_modelarts.client.auth.password import REFUSED_FOR, PasswordToken
from airflow_provider_modelarts.client.clock import Clock
from airflow_provider_modelarts.client.errors import (
    AuthenticationError,
    ForeignAnswer,
    InvalidRequest,
    ModelArtsError,
    NotFound,
    PermissionDenied,
    ServiceUnavailable,
    UnexpectedResponse,
)
from airflow_provider_modelarts.client.transport.session import HttpSession, Request
from airflow_provider_modelarts.client.validation import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.transport.response import Response
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

DAY = 24 * 3600


def token_requests(emulator: Emulator) -> int:
    return emulator.journal.count("POST", "/v3/auth/tokens")


def test_one_token_serves_all_clients_of_a_process(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str
) -> None:
    for _ in range(3):
        make_client().datasets.get(dataset_id)
    assert token_requests(emulator) == 1
    (record,) = emulator.journal.select("POST", "/v3/auth/tokens")
    assert record.query.get("nocatalog"), "the catalog is long, and nobody reads it"


def test_threads_that_begin_together_fetch_one_token(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str
) -> None:
    delay = emulator.faults.add("POST", "/v3/auth/tokens", "delay", seconds=0.2)
    clients = [make_client() for _ in range(8)]
    together = threading.Barrier(8)

    def read(client: ModelArtsClient) -> str | None:
        together.wait()
        return client.datasets.get(dataset_id).dataset_id

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, clients)) == {dataset_id}
    assert delay.fired == 1
    assert token_requests(emulator) == 1


class WatchedLock:
    """A lock that tells when a thread has to wait for it."""

    def __init__(self, lock: Any, on_wait: Callable[[], None]) -> None:
        self._lock, self._on_wait = lock, on_wait

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._on_wait()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Iam:
    """Sends token requests of threads that all wait for the first; answers as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], ModelArtsError]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self._others = 0
        self._begun = threading.Event()
        self._waiting = threading.Semaphore(0)
        make = tokens._FetchLock.__init__

        def counted(fetch: tokens._FetchLock) -> None:
            make(fetch)
            fetch.lock = WatchedLock(fetch.lock, self._waiting.release)  # type: ignore[assignment]

        monkeypatch.setattr(tokens._FetchLock, "__init__", counted)

    def token(self, project: str) -> PasswordToken:
        keys = PasswordCredentials("iam.example.com", "u", "-".join(["sentinel", "password"]), "d")
        session: Any = self
        return PasswordToken(keys, Endpoint("iam.example.com"), ("id", project), session, Clock())

    def send(self, request: object, what: str) -> Any:
        del request
        self.asked.append(what)
        self._begun.set()
        for _ in range(self._others if len(self.asked) == 1 else 0):
            assert self._waiting.acquire(timeout=20)
        raise self.answer()

    def errors(self, calls: list[Callable[[], object]]) -> list[ModelArtsError]:
        """Make calls in threads: the first one asks, and the others come while it does."""
        self.asked.clear()
        self._begun.clear()
        self._others = len(calls) - 1

        def fail(call: Callable[[], object]) -> ModelArtsError:
            with pytest.raises(ModelArtsError) as caught:
                call()
            return caught.value

        with ThreadPoolExecutor(len(calls)) as pool:
            first = pool.submit(fail, calls[0])
            assert self._begun.wait(20)
            rest = [pool.submit(fail, call) for call in calls[1:]]
            return [done.result() for done in (first, *rest)]


def no_answer() -> ModelArtsError:
    return ServiceUnavailable("Cannot get it: IAM did not answer.", method="POST", path="/v3", retry_after=3)


def test_threads_that_wait_for_a_token_share_the_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    iam = Iam(monkeypatch, no_answer)
    token = iam.token("p")
    for _ in range(2):  # the next ones, who did not wait for the first, ask again
        errors = iam.errors([token.project_id] * 16)
        assert len(iam.asked) == 1
        assert {type(error) for error in errors} == {ServiceUnavailable}
        assert {(str(error), json.dumps(error.details())) for error in errors} == {
            (str(no_answer()), json.dumps(no_answer().details()))
        }
        # each thread has one of its own, in which only its own frames are
        assert len({id(error) for error in errors}) == 16
        assert all(error.__context__ is None and error.__cause__ is None for error in errors)
    with pytest.raises(ServiceUnavailable):
        token.project_id()
    assert len(iam.asked) == 2


def test_who_comes_back_at_once_does_not_keep_those_that_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Semaphore(0)

    def answer() -> ModelArtsError:
        for _ in range(7 if len(iam.asked) == 2 else 0):
            assert told.acquire(timeout=20)
        return no_answer()

    iam = Iam(monkeypatch, answer)
    ask = iam.token("p").project_id

    def ask_twice() -> None:
        with pytest.raises(ServiceUnavailable):
            ask()
        ask()

    def ask_and_tell() -> None:
        try:
            ask()
        finally:
            told.release()

    iam.errors([ask_twice, *[ask_and_tell] * 7])
    assert len(iam.asked) == 2


def test_a_thread_that_was_torn_out_of_a_fetch_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def torn_out() -> ModelArtsError:
        raise KeyboardInterrupt

    iam = Iam(monkeypatch, torn_out)
    token = iam.token("p")
    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        pool.submit(token.project_id).result()
    iam.answer = no_answer
    with pytest.raises(ServiceUnavailable):
        token.project_id()
    assert len(iam.asked) == 2


def test_threads_whose_token_died_share_the_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    iam = Iam(monkeypatch, no_answer)
    token = iam.token("p")
    used = Request("GET", Endpoint("modelarts.example.com"), (), headers={"X-Auth-Token": "old"})
    errors = iam.errors([lambda: token.renew(used)] * 8)
    assert len(iam.asked) == 1
    assert len(errors) == 8


def test_another_project_is_told_that_iam_does_not_answer_in_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    iam = Iam(monkeypatch, lambda: ServiceUnavailable(f"Cannot {iam.asked[-1]}: IAM did not answer."))
    first, second = iam.errors([iam.token("p").project_id, iam.token("q").project_id])
    assert len(iam.asked) == 1
    assert "project id 'p'" in str(first)
    assert str(second) == str(first).replace("'p'", "'q'")


def test_an_odd_answer_about_a_project_is_not_told_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    iam = Iam(monkeypatch, lambda: UnexpectedResponse(f"Cannot {iam.asked[-1]}: the answer lacks something."))
    ask = iam.token("p").project_id
    errors = iam.errors([ask, ask, iam.token("q").project_id])
    assert [what.count("'q'") for what in iam.asked] == [0, 1]
    assert ["'q'" in str(error) for error in errors] == [False, False, True]


def test_a_lasting_refusal_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    iam = Iam(monkeypatch, lambda: NotFound("No such project."))
    iam.errors([iam.token("p").project_id] * 3)
    assert len(iam.asked) == 3


def test_threads_wait_for_one_time_out_of_an_iam_that_hangs(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str
) -> None:
    go_on = threading.Event()

    def hold(call: Any) -> bool:
        del call
        go_on.wait(20)
        return True

    emulator.faults.add("POST", "/auth/tokens", "delay", match=hold, seconds=0, times=None)
    client = make_client(timeout=0.5, retries=False)
    together = threading.Barrier(16)

    def read(_: int) -> float:
        together.wait()
        begun = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="did not answer within"):
            client.datasets.get(dataset_id)
        return time.monotonic() - begun

    with ThreadPoolExecutor(16) as pool:
        took = list(pool.map(read, range(16)))
    go_on.set()
    assert max(took) < 4, "one after another they would take eight seconds"


def test_each_project_has_its_own_token(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, password: PasswordCredentials
) -> None:
    other = make_client(replace(password, project_name=emulator.other_project_name))
    assert make_client().project_id == emulator.project_id
    assert other.project_id != emulator.project_id
    assert token_requests(emulator) == 2


def test_the_project_is_known_without_a_request_once_there_was_one(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator
) -> None:
    client = make_client()
    assert client.known_project_id is None
    assert token_requests(emulator) == 0
    assert client.project_id == client.known_project_id == emulator.project_id
    assert make_client(project_id="given").known_project_id == "given"


def test_a_project_id_wins_over_the_name(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, password: PasswordCredentials
) -> None:
    other = make_client(replace(password, project_name=emulator.other_project_name)).project_id
    assert make_client(replace(password, project_id=other)).project_id == other
    assert make_client(replace(password, project_id=other), project_id=emulator.project_id).project_id == (
        emulator.project_id
    )
    asked = [json.loads(record.body)["auth"]["scope"] for record in emulator.journal.select("POST", "/auth/tokens")]
    assert asked[1:] == [{"project": {"id": other}}, {"project": {"id": emulator.project_id}}]


def test_a_token_is_renewed_half_an_hour_before_its_end(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    client.datasets.get(dataset_id)
    moved_clock.advance(DAY - 31 * 60)
    client.datasets.get(dataset_id)
    assert token_requests(emulator) == 1
    moved_clock.advance(2 * 60)
    client.datasets.get(dataset_id)
    assert token_requests(emulator) == 2


def test_while_iam_is_down_the_old_token_serves_on(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    client.datasets.get(dataset_id)
    moved_clock.advance(DAY - 29 * 60)
    down = emulator.faults.add("POST", "/v3/auth/tokens", "status", status=503, times=None)
    for _ in range(5):
        client.datasets.get(dataset_id)
    assert down.fired == 1
    emulator.faults.clear()
    moved_clock.advance(61)
    client.datasets.get(dataset_id)
    assert token_requests(emulator) == 3


def test_an_old_token_is_not_used_beyond_its_end(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    client.datasets.get(dataset_id)
    moved_clock.advance(DAY + 1)
    client.datasets.get(dataset_id)
    assert [record.status for record in emulator.journal.select("GET")] == [200, 200]


@pytest.mark.parametrize("fault", ["expired_token", "revoke"])
def test_a_token_error_renews_once_and_repeats_once(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, fault: str
) -> None:
    rule = emulator.faults.add("GET", dataset_id, fault)
    assert client.datasets.get(dataset_id).dataset_id == dataset_id
    assert rule.fired == 1
    assert token_requests(emulator) == 2
    assert [record.status for record in emulator.journal.select("GET")] == [401, 200]


def test_a_write_after_a_token_error_is_repeated_once(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str
) -> None:
    sample = client.proposals.page(dataset_id, 0, limit=1).items[0]
    emulator.faults.add("PUT", dataset_id, "expired_token")
    assert [outcome.ok for outcome in client.samples.update(dataset_id, [sample])] == [True]
    assert [record.status for record in emulator.journal.select("PUT")] == [401, 200]


def test_a_new_token_that_does_not_help_is_not_fetched_again_and_again(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    emulator.faults.add("GET", dataset_id, "status", status=401, code="APIGW.0307", times=None)
    for _ in range(20):
        with pytest.raises(AuthenticationError, match="region"):
            client.datasets.get(dataset_id)
    assert token_requests(emulator) == 2
    assert emulator.journal.count("GET") == 21
    moved_clock.advance(61)
    emulator.faults.clear()
    assert client.datasets.get(dataset_id)


def test_threads_whose_token_died_renew_it_once(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    client.datasets.get(dataset_id)
    emulator.revoke_tokens()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.datasets.get(dataset_id), range(16)))
    assert token_requests(emulator) == 2


def test_a_wrong_password_is_sent_once_however_many_ask(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, password: PasswordCredentials, dataset_id: str
) -> None:
    wrong = replace(password, password="sentinel-password")

    def refused(_: int) -> str:
        with pytest.raises(AuthenticationError) as caught:
            make_client(wrong).datasets.get(dataset_id)
        return str(caught.value)

    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(refused, range(12)))
    assert token_requests(emulator) == 1
    for text in texts:
        assert emulator.user in text
        assert emulator.url in text
        assert "sentinel-password" not in text
        assert text.count("not sent again") <= 1
        assert "\n" not in text
    # another project does not make the same password right
    with pytest.raises(AuthenticationError):
        make_client(replace(wrong, project_name=emulator.other_project_name)).datasets.get(dataset_id)
    assert token_requests(emulator) == 1
    assert make_client().datasets.get(dataset_id)


def test_a_refused_password_is_tried_again_after_a_while(
    make_client: Callable[..., ModelArtsClient],
    emulator: Emulator,
    password: PasswordCredentials,
    dataset_id: str,
    moved_clock: MovedClock,
) -> None:
    client = make_client(replace(password, password="known-to-the-service-later"))
    for wait in (0, REFUSED_FOR - 1):
        moved_clock.advance(wait)
        with pytest.raises(AuthenticationError):
            client.datasets.get(dataset_id)
    assert token_requests(emulator) == 1
    emulator.set_password("known-to-the-service-later")
    moved_clock.advance(2)
    assert client.datasets.get(dataset_id)


def test_a_locked_user_is_asked_for_again_later(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    body = json.dumps({"error_code": "IAM.0061", "error_msg": "The user is locked."})
    emulator.faults.add("POST", "/auth/tokens", "status", status=401, body=body)
    for _ in range(3):
        with pytest.raises(AuthenticationError, match="locked"):
            client.datasets.get(dataset_id)
    assert token_requests(emulator) == 1
    moved_clock.advance(16 * 60)
    assert client.datasets.get(dataset_id)


def test_a_password_that_changes_under_way_is_told_once(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str
) -> None:
    client.datasets.get(dataset_id)
    emulator.set_password("another-password")
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            client.datasets.get(dataset_id)
    assert token_requests(emulator) == 2


def test_an_unknown_project_is_named(
    make_client: Callable[..., ModelArtsClient], password: PasswordCredentials
) -> None:
    # It is not the dataset that is unknown: whoever reads samples would count them as gone.
    with pytest.raises(PermissionDenied, match=r"atlantis.*Check user, account and project"):
        make_client(replace(password, project_name="atlantis")).datasets.get("d")


def test_iam_that_is_no_iam(make_client: Callable[..., ModelArtsClient], emulator: Emulator) -> None:
    emulator.faults.add("POST", "/auth/tokens", "status", status=201, body="{}")
    with pytest.raises(UnexpectedResponse, match="X-Subject-Token"):
        make_client(retries=False).datasets.get("d")


@pytest.mark.parametrize(
    "path", ["/v3", "/v3/", "/V3", "//v3//", "/v3/auth/tokens", "/v3/auth/", "/v2.0", "/v3.0/", "/v3/projects", "/"]
)
def test_the_version_in_an_openstack_address_of_iam_is_no_part_of_it(
    make_client: Callable[..., ModelArtsClient],
    emulator: Emulator,
    password: PasswordCredentials,
    dataset_id: str,
    path: str,
) -> None:
    client = make_client(replace(password, iam_endpoint=f"{emulator.url}{path}"))
    assert client.datasets.get(dataset_id).dataset_id == dataset_id


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://host:5000/identity/v3", "https://host:5000/identity"),
        ("host/v2", "https://host"),
        ("https://host/v2/" + "0a" * 16, "https://host"),
        ("https://host/v2/$(tenant_id)s", "https://host"),
        ("https://host/gate/1/", "https://host/gate/1"),
        ("https://host/v3x", "https://host/v3x"),
        ("https://host/v2/gate", "https://host/v2/gate"),
        ("::1", "https://[::1]"),
        ("http://::1/gate", "http://[::1]/gate"),
        ("[::1]:80", "https://[::1]:80"),
        ("https://2001:db8::1/v3", "https://[2001:db8::1]"),
    ],
)
def test_an_endpoint_is_what_stands_before_the_version_of_the_api(text: str, url: str) -> None:
    assert Endpoint(text).url == url


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ("{}", {}),
        ("[]", {}),
        ("", {}),
        ("not json", {}),
        ('{"token": {"project": {"id": "p"}}}', {}),
        ('{"token": {}}', {"X-Subject-Token": "MIIt"}),
        ('{"error_code": "IAM.9999", "error_msg": "?"}', {}),
        ("<html>Log in</html>", {}),
    ],
)
def test_a_password_is_sent_once_to_whoever_answers_without_a_token(
    client: ModelArtsClient,
    emulator: Emulator,
    moved_clock: MovedClock,
    status: int,
    body: str,
    headers: dict[str, str],
) -> None:
    rule = emulator.faults.add("POST", "/auth/tokens", "status", status=status, body=body, headers=headers, times=None)
    for number, call in enumerate((client.datasets.get, client.tasks.start), start=1):
        with pytest.raises(UnexpectedResponse) as caught:
            call("d")
        assert rule.fired == number
        assert caught.value.certainly_not_executed
    with pytest.raises(UnexpectedResponse):
        _ = client.project_id
    assert rule.fired == 3
    assert moved_clock.slept == []


@pytest.mark.parametrize("fault", ["reset", "reset_after"])
def test_a_token_request_whose_answer_is_lost_is_repeated(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock, fault: str
) -> None:
    rule = emulator.faults.add("POST", "/auth/tokens", fault, times=2)
    assert client.datasets.get(dataset_id)
    assert rule.fired == 2


def test_without_a_token_a_start_was_certainly_not_sent(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str
) -> None:
    emulator.faults.add("POST", "/auth/tokens", "reset_after", times=None)
    client = make_client(retries=False)
    with pytest.raises(ServiceUnavailable):
        client.tasks.start(dataset_id)
    with pytest.raises(ServiceUnavailable) as caught:
        client.samples.update(dataset_id, [{"sample_id": "s", "labels": [{"name": "a"}]}])
    assert caught.value.certainly_not_executed


def test_attempts_for_a_token_do_not_multiply(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    emulator.faults.add("POST", "/auth/tokens", "status", status=503, times=None)
    with pytest.raises(ServiceUnavailable):
        client.datasets.get(dataset_id)
    assert token_requests(emulator) == 6


def test_an_access_key_signs_reads_writes_and_strange_ids(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str
) -> None:
    client = make_client(AccessKeyCredentials(emulator.access_key, emulator.secret_key, emulator.project_id))
    samples = list(client.proposals.list(dataset_id, search_conditions={"hard": "0"}, low_score=0, order="asc"))
    assert all(outcome.ok for outcome in client.samples.update(dataset_id, samples[:3]))
    with pytest.raises(NotFound):
        client.samples.get(dataset_id, "ä ö?&=~+%2F;")
    assert token_requests(emulator) == 0


def test_a_temporary_key_signs_its_security_token_too(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str
) -> None:
    body = {"auth": {"identity": {"methods": ["token"], "token": {"duration_seconds": 900}}}}
    answer = requests.post(
        f"{emulator.url}/v3.0/OS-CREDENTIAL/securitytokens",
        json=body,
        headers={"X-Auth-Token": emulator.issue_token()},
        timeout=10,
    )
    key = answer.json()["credential"]
    parts = (key["access"], key["secret"], emulator.project_id)
    client = make_client(AccessKeyCredentials(*parts, security_token=key["securitytoken"]))
    sample = client.proposals.page(dataset_id, 0, limit=1).items[0]
    assert client.samples.update(dataset_id, [sample])[0].ok
    with pytest.raises(AuthenticationError):
        make_client(AccessKeyCredentials(*parts)).datasets.get(dataset_id)


class Leaving(HttpSession):
    """Ends the process instead of sending."""

    def send(self, request: Request, what: str) -> Response:
        del request, what
        os._exit(7)


def test_a_forked_child_waits_for_no_thread_of_its_parent(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str
) -> None:
    """The parent forks while a thread of it holds the lock under which a token is fetched."""
    asked = threading.Event()
    go_on = threading.Event()

    def hold(call: Any) -> bool:
        del call
        asked.set()
        go_on.wait(20)
        return False

    emulator.faults.add("POST", "/auth/tokens", "status", match=hold)
    thread = threading.Thread(target=lambda: make_client().datasets.get(dataset_id))
    thread.start()
    asked.wait(20)
    child = os.fork()
    if child == 0:  # pragma: no cover - the child is not watched
        # the lock, not the request, is what the child must get past
        signal.alarm(10)
        token = PasswordToken(
            PasswordCredentials(emulator.url, emulator.user, emulator.password, emulator.domain),
            Endpoint(emulator.url),
            ("name", emulator.project_name),
            Leaving(),
            Clock(),
        )
        token.project_id()
        os._exit(8)
    go_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_signal_handler_does_not_wait_for_what_it_interrupts(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    """The signal comes while the interrupted thread asks IAM."""
    read: list[object] = []

    def handle(*_: object) -> None:
        emulator.faults.clear()
        read.append(make_client(retries=False).datasets.get(dataset_id))

    def interrupt(call: Any) -> bool:
        del call
        os.kill(os.getpid(), signal.SIGUSR1)
        return True

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        emulator.faults.add("POST", "/auth/tokens", "delay", seconds=0.3, match=interrupt)
        read.append(make_client().datasets.get(dataset_id))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(read) == 2
    assert token_requests(emulator) == 2
    assert moved_clock.slept == []


def test_a_wrong_secret_key_is_told_once(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str
) -> None:
    client = make_client(AccessKeyCredentials(emulator.access_key, "sentinel-secret-key", emulator.project_id))
    with pytest.raises(AuthenticationError) as caught:
        client.datasets.get(dataset_id)
    assert "sentinel-secret-key" not in str(caught.value)
    assert emulator.journal.count("GET") == 1


def test_a_ready_made_token_is_used_and_not_renewed(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str
) -> None:
    client = make_client(TokenCredentials(emulator.issue_token(), emulator.project_id))
    assert client.datasets.get(dataset_id)
    emulator.revoke_tokens()
    with pytest.raises(AuthenticationError):
        client.datasets.get(dataset_id)
    assert token_requests(emulator) == 0
    assert emulator.journal.count("GET") == 2


def test_secrets_are_in_no_repr_text_or_log(
    make_client: Callable[..., ModelArtsClient],
    emulator: Emulator,
    password: PasswordCredentials,
    dataset_id: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    token = emulator.issue_token()
    credentials: list[Any] = [
        password,
        AccessKeyCredentials(emulator.access_key, emulator.secret_key, emulator.project_id, "sentinel-security-token"),
        TokenCredentials(token, emulator.project_id),
    ]
    shown = []
    for credential in credentials:
        client = make_client(credential, retries=False)
        echo = f"echo {emulator.password} {token} {emulator.secret_key} https://h/x?Signature=SIGNED"
        emulator.faults.add("GET", dataset_id, "status", status=403, code="ModelArts.0108", message=echo)
        with pytest.raises(ModelArtsError) as caught:
            client.datasets.get(dataset_id)
        own = {password: emulator.password, credentials[1]: emulator.secret_key, credentials[2]: token}[credential]
        text = str(caught.value) + repr(vars(caught.value))
        assert "echo" in text
        assert own not in text
        assert "SIGNED" not in text
        shown += [repr(credential), str(credential), repr(client)]
    sample = client.proposals.page(dataset_id, 0, limit=1).items[0]
    assert "Signature=" in json.dumps(sample.raw)
    shown += [repr(sample), str(sample), repr(sample.labels), repr(client.datasets.get(dataset_id)), caplog.text]
    leaked = [secret for secret in (*emulator.secrets, "sentinel-security-token") if secret in "\n".join(shown)]
    assert leaked == []
    sent = [record.headers.get("x-auth-token") for record in emulator.journal.select("GET")]
    assert token in sent


def test_a_token_with_a_line_break_is_refused_without_quoting_it() -> None:
    with pytest.raises(InvalidRequest) as caught:
        TokenCredentials("MIIsentinel\nrest", "p")
    assert "MIIsentinel" not in str(caught.value)


def test_a_proxys_401_is_not_iams_word_on_the_password(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str
) -> None:
    page = emulator.faults.add("POST", "/auth/tokens", "html", status=401)
    with pytest.raises(ForeignAnswer) as caught:
        client.datasets.get(dataset_id)
    assert not caught.value.permanent
    assert page.fired == 1
    assert client.datasets.get(dataset_id)


def test_a_token_that_helps_one_project_is_not_kept_from_it_by_another(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, password: PasswordCredentials, dataset_id: str
) -> None:
    client, other = make_client(), make_client(replace(password, project_name=emulator.other_project_name))
    client.datasets.get(dataset_id)
    rule = emulator.faults.add("GET", other.project_id, "status", status=401, code="APIGW.0307", times=None)
    with pytest.raises(AuthenticationError):
        other.datasets.get(dataset_id)
    assert rule.fired == 2
    emulator.revoke_tokens()
    assert client.datasets.get(dataset_id)


@pytest.mark.parametrize("fault", ["wrong password", "reset_after", "truncated", "html", "status"])
def test_no_frame_of_an_error_shows_a_secret(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, password: PasswordCredentials, fault: str
) -> None:
    secret = "-".join(["sentinel", "password"])  # in one piece it would stand in this very frame's source
    key = "-".join(["sentinel", "secret", "key"])
    emulator.set_password(secret)
    wrong = fault == "wrong password"
    signed = AccessKeyCredentials(emulator.access_key, key, emulator.project_id)
    for credentials in (replace(password, password="".join([secret, "!" if wrong else ""])), signed):
        emulator.faults.clear()
        if not wrong:
            emulator.faults.add("*", "", fault, times=None)
        with pytest.raises(ModelArtsError) as caught:
            make_client(credentials, retries=False).datasets.get("d")
        # as tools show it that print the values of variables beside a traceback
        trace = caught.value.__traceback__.tb_next if caught.value.__traceback__ else None
        frames = traceback.StackSummary.extract(traceback.walk_tb(trace), capture_locals=True)
        assert len(frames) > 5
        shown = repr([frame.locals for frame in frames])
        assert secret not in shown
        assert key not in shown
