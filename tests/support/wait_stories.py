"""Remote stories: what may happen to a labeling task, and to the way to it, while something waits for it.

Each is held against every way of waiting (B7): same outcome, same exception, same XCom.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

POLL = "/tasks/"


@dataclass
class WaitWorld:
    """One telling of a story: a service, its time, and what is going to happen when."""

    emulator: Emulator
    clock: MovedClock
    monkeypatch: pytest.MonkeyPatch
    dataset_id: str
    plans: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        begin, sleep = self.clock.now(), type(self.clock).sleep

        def sleep_and_act(seconds: float) -> None:
            sleep(self.clock, seconds)
            due = [plan for plan in self.plans if self.clock.now() >= begin + plan[0]]
            for plan in due:
                self.plans.remove(plan)
                plan[1]()

        self.monkeypatch.setattr(self.clock, "sleep", sleep_and_act)

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Let something happen once so much time has passed, while the wait sleeps."""
        self.plans.append((seconds, act))

    @property
    def label_task_id(self) -> str:
        """The newest labeling task."""
        return list(self.emulator.dataset(self.dataset_id).tasks)[-1]

    def stop_as_somebody_else(self) -> None:
        from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

        ModelArtsHook().client.tasks.stop(self.dataset_id, self.label_task_id)

    def tell_airflow_the_new_password(self) -> None:
        self.monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(self.emulator.connection))

    def move(self, seconds: float, kind: str, **arguments: Any) -> None:
        """Let the service have another address from some time on, which Airflow's connection knows at once.

        :param kind: fault for whoever still asks at the old one
        """
        was = self.emulator.url.removeprefix("http://")

        def go() -> None:
            self.let_fail(kind, times=None, match=lambda call: call.headers["host"] == was, **arguments)
            moved = {**self.emulator.connection, "host": self.emulator.url.replace("127.0.0.1", "localhost")}
            self.monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(moved))

        self.after(seconds, go)

    def let_fail(self, kind: str, *, times: int | None = 1, after: int = 0, **arguments: Any) -> None:
        self.emulator.faults.add("GET", POLL, kind, times=times, after=after, **arguments)


@dataclass(frozen=True)
class WaitStory:
    """A story and how it ends.

    :param ending: status of the outcome; for ``error`` the class of the client's error
    :param says: what the message must say
    """

    tell: Callable[[WaitWorld], None]
    ending: str
    says: tuple[str, ...] = ()
    timeout: float = 3600
    task_seconds: float = 300
    fires: str | None = None


def it_succeeds(world: WaitWorld) -> None:
    pass


def it_fails(world: WaitWorld) -> None:
    world.emulator.dataset(world.dataset_id).fail_next_task("ModelArts.4917", "The job failed.", "RGBA image x.png")


def somebody_stops_it(world: WaitWorld) -> None:
    world.after(40, world.stop_as_somebody_else)


def it_takes_too_long(world: WaitWorld) -> None:
    pass


def the_status_is_a_number_nobody_knows(world: WaitWorld) -> None:
    world.let_fail("status", times=3, after=1, status=200, body={"status": 17, "progress": 5})


def the_service_is_down_for_five_minutes(world: WaitWorld) -> None:
    world.let_fail("status", times=15, after=1, status=503)


def connections_are_reset(world: WaitWorld) -> None:
    world.let_fail("reset", times=4)


def answers_are_cut_off(world: WaitWorld) -> None:
    world.let_fail("truncated", times=2, after=1)


def a_proxy_answers_with_a_page(world: WaitWorld) -> None:
    world.let_fail("html", times=2, after=1, status=502)


def it_is_throttled(world: WaitWorld) -> None:
    world.let_fail("status", times=2, after=1, status=429, code="APIGW.0308", headers={"Retry-After": "75"})


def tokens_are_revoked(world: WaitWorld) -> None:
    world.after(30, world.emulator.revoke_tokens)


def one_poll_finds_its_token_expired(world: WaitWorld) -> None:
    world.let_fail("expired_token", after=2)


def the_password_is_rotated(world: WaitWorld) -> None:
    world.after(30, lambda: world.emulator.set_password("a-brand-new-passw0rd"))
    world.after(30, world.tell_airflow_the_new_password)


def the_service_moves_and_nobody_listens_where_it_was(world: WaitWorld) -> None:
    world.move(30, "reset")


def the_service_moves_and_somebody_else_answers_where_it_was(world: WaitWorld) -> None:
    world.move(30, "status", status=404, code="APIGW.0101", message="No such API.")


def the_password_is_changed_behind_our_back(world: WaitWorld) -> None:
    world.after(30, lambda: world.emulator.set_password("a-brand-new-passw0rd"))


def the_permission_is_taken_away(world: WaitWorld) -> None:
    world.let_fail("status", times=None, after=2, status=403, code="ModelArts.0108", message="No permission.")


def it_is_deleted(world: WaitWorld) -> None:
    world.after(30, lambda: world.emulator.dataset(world.dataset_id).forget_task(world.label_task_id))


def the_service_never_comes_back(world: WaitWorld) -> None:
    world.let_fail("status", times=None, after=1, status=503)


STORIES: dict[str, WaitStory] = {
    story.tell.__name__: story
    for story in (
        WaitStory(it_succeeds, "success"),
        WaitStory(it_fails, "failed", ("failed", "The job failed.", "RGBA image x.png", "ModelArts.4917")),
        WaitStory(somebody_stops_it, "stopped", ("was stopped",)),
        WaitStory(it_takes_too_long, "timeout", ("not over at the deadline", "running"), timeout=200),
        WaitStory(the_status_is_a_number_nobody_knows, "success", fires="status"),
        WaitStory(the_service_is_down_for_five_minutes, "success", fires="status"),
        WaitStory(connections_are_reset, "success", fires="reset"),
        WaitStory(answers_are_cut_off, "success", fires="truncated"),
        WaitStory(a_proxy_answers_with_a_page, "success", fires="html"),
        WaitStory(it_is_throttled, "success", fires="status"),
        WaitStory(tokens_are_revoked, "success"),
        WaitStory(one_poll_finds_its_token_expired, "success", fires="expired_token"),
        WaitStory(the_password_is_rotated, "success"),
        # A rescheduled sensor begins with each look, and never asks at the old address again.
        WaitStory(the_service_moves_and_nobody_listens_where_it_was, "success"),
        WaitStory(the_service_moves_and_somebody_else_answers_where_it_was, "success"),
        WaitStory(the_password_is_changed_behind_our_back, "AuthenticationError", ("user", "a token")),
        WaitStory(the_permission_is_taken_away, "PermissionDenied", ("ModelArts.0108",), fires="status"),
        WaitStory(it_is_deleted, "NotFound", ("ModelArts.4612",)),
        WaitStory(the_service_never_comes_back, "timeout", ("not over", "503"), timeout=200, fires="status"),
    )
}

SUCCEEDED = int(TaskState.SUCCEEDED)
