"""Stories about the steps around labeling: whoever is killed in one, nothing is there twice, and the run ends well."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.soak.soak_kills import chosen
from tests.soak.soak_triggerers import FIRST
from tests.soak.story_runner import Story
from tests.soak.story_world import StoryError, StoryWorld, expect, kill
from tests.support.team_member import make_team

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import psutil

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Record
    from airflow_provider_modelarts.emulator.http.faults import Rule
    from tests.soak.sqlite_airflow import SqliteAirflow

STEP_SECONDS = 1800.0
"""How long the service takes for a step, by the emulator's clock: only a story ends it."""

ON_ITS_WAY = 8.0
"""Seconds that a request is on its way: longer than Airflow takes until the next try looks for what it has started."""

EMAIL = "labeler@example.com"
NEW_LABELS = ["first new", "second new"]
NIGHTLY = "nightly_pipeline"
CONFIRM = "night.label_and_confirm.confirm"


@dataclass(frozen=True)
class Step:
    """A step of the night.

    :param method: of the request by which it starts something
    :param path: what the path of that request ends with, a regular expression
    :param deferred: whether it waits in the triggerer
    :param prepare: brings the dataset to where the step begins, and returns what the run is to know
    :param is_done_twice: whether sending it twice changes nothing
    :param answered: the gate behind its request
    """

    method: str
    path: str
    deferred: bool = True
    prepare: Callable[[StoryWorld], dict[str, Any]] = lambda _: {}
    is_done_twice: bool = False
    answered: str = "after_post"

    def matches(self, request: Any) -> bool:
        """Return whether a request is one of this step."""
        return bool(request.method == self.method and re.search(f"{self.path}$", request.path))


# --- where steps begin


def let_time_pass(world: StoryWorld) -> None:
    """Move the service's time to where everything that it works on is over."""
    world.emulator.clock.advance(STEP_SECONDS + 1)


def files_lie_ready(world: StoryWorld) -> dict[str, Any]:
    world.emulator.put_images("/incoming/flowers/", 2, label="1")
    return {}


def team(world: StoryWorld) -> dict[str, Any]:
    """Make a team; the team task is for the few samples of a dataset of its own."""
    world.dataset_id = world.emulator.load_proposals(12)
    with world.client() as client:
        workforce_id = client.workforces.create("people")
        client.workforces.create_worker(workforce_id, EMAIL, role=0)
    return {"workforces_config": {"workforces": [{"workforce_id": workforce_id, "workers": [{"email": EMAIL}]}]}}


def team_task(world: StoryWorld) -> dict[str, Any]:
    """Make a team task that waits for its start."""
    known = team(world)
    with world.client() as client:
        return {**known, "workforce_task_id": client.team_tasks.create(world.dataset_id, "night")}


def labeled(world: StoryWorld) -> dict[str, Any]:
    """Make a team task whose copies are all labeled."""
    known = team_task(world)
    task_id = known["workforce_task_id"]
    with world.client() as client:
        client.team_tasks.start(world.dataset_id, task_id, known["workforces_config"])
        let_time_pass(world)
        client.team_tasks.get(world.dataset_id, task_id)
    dataset = world.emulator.dataset(world.dataset_id)
    for sample_id, worker_id in dataset.team_copies(task_id):
        dataset.label_team_sample(task_id, sample_id, sorted(dataset.labels)[0], worker_id)
    return known


def in_acceptance(world: StoryWorld) -> dict[str, Any]:
    """Make a team task whose acceptance has begun, with all copies drawn."""
    known = labeled(world)
    task_id = known["workforce_task_id"]
    with world.client() as client:
        client.team_tasks.start_acceptance(world.dataset_id, task_id, sampling_rate=1)
        let_time_pass(world)
        copies = list(client.team_samples.list(world.dataset_id, task_id))
    comments = [{"sample_id": one.sample_id, "worker_id": one.worker_id, "accept": True} for one in copies]
    return {**known, "comments": comments}


def at_work(world: StoryWorld, *, reviewers: tuple[str, ...] = ()) -> dict[str, Any]:
    """Make a team task that runs, and say which labels its copies are to have."""
    world.dataset_id = world.emulator.load_proposals(6)
    dataset = world.emulator.dataset(world.dataset_id)
    world.team_task_id = world.emulator.create_team_task(world.dataset_id, [EMAIL], reviewers=reviewers)
    name = sorted(dataset.labels)[0]
    samples = [
        {"sample_id": sample_id, "worker_id": worker_id, "labels": [{"name": name}]}
        for sample_id, worker_id in dataset.team_copies(world.team_task_id)
    ]
    return {"workforce_task_id": world.team_task_id, "samples": samples, "emails": [EMAIL]}


def with_labels(world: StoryWorld, *, reviewers: tuple[str, ...] = ()) -> dict[str, Any]:
    """Make a team task whose copies have labels, to be cleared."""
    known = at_work(world, reviewers=reviewers)
    for one in known["samples"]:
        label_copy(world, one["sample_id"], 0)
    return {**known, "samples": [{name: one[name] for name in ("sample_id", "worker_id")} for one in known["samples"]]}


def to_review(world: StoryWorld) -> dict[str, Any]:
    """Make a team task whose copies wait for a review, in which the first one is not accepted."""
    known = with_labels(world, reviewers=("reviewer@example.com",))
    return {**known, "comments": [{**one, "accept": place > 0} for place, one in enumerate(known["samples"])]}


def lacks_labels(_: StoryWorld) -> dict[str, Any]:
    return {"labels": NEW_LABELS}


STEPS = {
    "sync": Step("POST", "/sync-data"),
    "import": Step("POST", "/import-tasks", prepare=files_lie_ready),
    "export": Step("POST", "/export-tasks"),
    "publish": Step("POST", "/versions"),
    "create": Step("POST", "/workforce-tasks", deferred=False, prepare=team),
    "start": Step("POST", "/workforce-tasks/[^/]+", deferred=False, prepare=team_task),
    "begin": Step("POST", "/acceptance", prepare=labeled),
    "comment": Step("POST", "/batch-comment", deferred=False, prepare=in_acceptance, is_done_twice=True),
    "finish": Step("PUT", "/acceptance/status", prepare=in_acceptance),
    "results": Step("GET", "/samples", deferred=False, prepare=labeled, is_done_twice=True, answered="after_list"),
    "update": Step("PUT", "/data-annotations/samples", deferred=False, prepare=at_work),
    "clear": Step("PUT", "/data-annotations/samples", deferred=False, prepare=with_labels),
    "review": Step("POST", "/data-annotations/review", deferred=False, prepare=to_review),
    "notify": Step("POST", "/notify", deferred=False, prepare=at_work),
    "labels": Step("POST", "/data-annotations/labels", deferred=False, prepare=lacks_labels),
}


def label_copy(world: StoryWorld, sample_id: str, number: int) -> None:
    """Let the member label a copy, by the number of the label."""
    dataset = world.emulator.dataset(world.dataset_id)
    dataset.label_team_sample(world.team_task_id, sample_id, sorted(dataset.labels)[number])


def label_first_copy(world: StoryWorld) -> None:
    """Let the member give the first copy another label."""
    dataset = world.emulator.dataset(world.dataset_id)
    label_copy(world, next(iter(dataset.team_copies(world.team_task_id)))[0], 1)


def color_new_label(world: StoryWorld) -> None:
    """Let the owner give the first new label a color."""
    with world.client() as client:
        client.labels.update_one(world.dataset_id, NEW_LABELS[0], {"@modelarts:color": "#93c47d"})


CHANGED_BETWEEN: dict[str, tuple[Callable[[StoryWorld], None], dict[str, Any]]] = {
    "update": (label_first_copy, {"updated": 0, "unchanged": 5, "changed": 1, "requests": 0}),
    "clear": (label_first_copy, {"updated": 0, "unchanged": 5, "changed": 1, "requests": 0}),
    "review": (label_first_copy, {"accepted": 0, "rejected": 0, "unchanged": 5, "changed": 1}),
    "notify": (label_first_copy, {"mailed": 0, "mailed_before": 1}),
    "labels": (color_new_label, {"created": 0, "existing": 2}),
}
"""What somebody changes when a step's write is carried out and its worker not yet killed, and what the retry counts."""

MADE: dict[str, Callable[[ModelArtsClient, str], list[str]]] = {
    "import": lambda client, dataset_id: [one.task_id for one in client.imports.list(dataset_id)],
    "export": lambda client, dataset_id: [one.task_id for one in client.exports.list(dataset_id)],
    "publish": lambda client, dataset_id: [one.version_id for one in client.versions.list(dataset_id)],
    "create": lambda client, dataset_id: [one.task_id for one in client.team_tasks.list(dataset_id)],
}
"""What a step has made, as the service lists it."""


def set_out(name: str, world: StoryWorld) -> Callable[[], int]:
    """Prepare a step; return what counts the requests of it that the service has carried out since."""
    step, emulator = STEPS[name], world.emulator
    emulator.job_seconds = emulator.team_seconds = STEP_SECONDS
    known = step.prepare(world)
    begun = len(carried_out(step, world))
    world.begin(f"step_{name}", **known)
    return lambda: len(carried_out(step, world)) - begun


def carried_out(step: Step, world: StoryWorld) -> list[Record]:
    return world.emulator.journal.select(match=lambda it: it.status < 300 and step.matches(it))


def worker_of(world: StoryWorld) -> psutil.Process:
    process = world.until(world.process, "the task's process cannot be found")
    return chosen(process, "own_process")


def ends_with_one(name: str, world: StoryWorld, sent: Callable[[], int]) -> None:
    """The retry runs; what the service works on ends; nothing is there twice."""
    world.until_before_the_end(lambda: world.tries() > 1, "Airflow does not try again")
    step = STEPS[name]
    if step.deferred:
        world.until(
            lambda: world.state() in ("deferred", "success", "failed"), "the task does not wait for what was started"
        )
        let_time_pass(world)
    world.until_over()
    expect(world.run_state() == "success", "the run has not succeeded", world)
    world.until(sent, "nothing was sent")
    expect(step.is_done_twice or sent() == 1, f"it was carried out {sent()} times", world)
    result = world.result()
    expect(result, f"the result is {result}", world)
    made = MADE.get(name)
    if made is not None:
        with world.client() as client:
            ids = made(client, world.dataset_id)
        known = result.values() if isinstance(result, dict) else [result]
        expect(len(ids) == 1 and ids[0] in known, f"{ids} was made, the result is {result}", world)


# --- who is killed, and when


def answered(name: str, world: StoryWorld) -> None:
    """The worker is killed when the service has answered, before it could store the answer."""
    gate = STEPS[name].answered
    world.want_gate(gate)
    sent = set_out(name, world)
    world.at_gate(gate)
    kill(worker_of(world))
    world.open_gate(gate)
    ends_with_one(name, world, sent)


def changed_between(name: str, world: StoryWorld) -> None:
    """The worker is killed as in :func:`answered`. Before the retry somebody changes what was written: that stays."""
    change, counts = CHANGED_BETWEEN[name]
    world.want_gate("after_post")
    sent = set_out(name, world)
    world.at_gate("after_post")
    change(world)
    left = what_is_there(world)
    kill(worker_of(world))
    world.open_gate("after_post")
    ends_with_one(name, world, sent)
    expect(what_is_there(world) == left, f"{left} was changed to {what_is_there(world)}", world)
    found = {key: world.result()[key] for key in counts}
    expect(found == counts, f"the retry counts {found}", world)


def what_is_there(world: StoryWorld) -> list[Any]:
    """Return the labels, the members' copies and the mails, as the service shows them."""
    with world.client() as client:
        found: list[Any] = [one.raw for one in client.labels.list(world.dataset_id)]
        if world.team_task_id:
            where = world.dataset_id, world.team_task_id
            found += [
                (one.sample_id, one.raw.get("labels"), one.sample_status, one.review_accept)
                for one in client.team_samples.list(*where)
            ]
            task = client.team_tasks.get(*where, workforce_stats=True)
            found += [one.last_notify_time for one in task.worker_stats]
    return found


def on_its_way(name: str, world: StoryWorld) -> None:
    """The worker is killed while its request is on its way: the service carries it out later."""
    step = STEPS[name]
    rule = world.emulator.faults.add(
        step.method, "", "delay", seconds=ON_ITS_WAY, match=lambda call: world.is_begun and step.matches(call)
    )
    sent = set_out(name, world)
    world.until_before_the_end(lambda: rule.fired, "nothing was sent")
    kill(worker_of(world))
    expect(not sent(), "the request was faster than the kill", world)
    ends_with_one(name, world, sent)


NIGHT: dict[str, tuple[str, str] | None] = {
    "name_datasets": None,
    "night.sync": ("POST", "/sync-data"),
    "night.check": None,
    "night.label_and_confirm.label": ("POST", "/tasks"),
    "night.label_and_confirm.plan": None,
    "night.label_and_confirm.confirm": ("PUT", "/data-annotations/samples"),
    "night.team": ("POST", "/workforce-tasks"),
    "night.people": None,
    "night.begin": ("POST", "/acceptance"),
    "night.accept": ("PUT", "/acceptance/status"),
    "night.publish": ("POST", "/versions"),
}
"""The tasks of a night in their order, and how each starts or writes something; None: it only reads."""


def every_worker_of_a_night(world: StoryWorld) -> None:
    """Each task of the night loses its worker once: when its request was carried out, or else in its first second."""
    emulator = world.emulator
    emulator.task_seconds = emulator.job_seconds = emulator.team_seconds = 2
    with world.client() as client:
        workforce_id = make_team(emulator, client)
    late = {"applied": True, "seconds": ON_ITS_WAY}
    rules = {
        task_id: emulator.faults.add(request[0], "", "delay", match=ends_with(request), **late)
        for task_id, request in NIGHT.items()
        if request is not None
    }
    place = f"file://{world.folder}"
    world.begin(NIGHTLY, dataset_ids=[world.dataset_id], workforce_id=workforce_id, place=place)
    for task_id in NIGHT:
        rule = rules.get(task_id)
        if rule is not None:
            world.until(partial(fired, rule, world), f"{task_id} sends nothing")
        ti_id = world.until(partial(ti_of, world, task_id), f"{task_id} does not run", every=0.3)
        process = world.until(
            partial(world.airflow.task_process, ti_id), f"the process of {task_id} cannot be found", every=0.05
        )
        kill(chosen(process, "own_process"))
    world.until_over()
    ended = {one["task_id"]: (one["state"], one["try_number"]) for one in instances(world)}
    expect(ended == dict.fromkeys(NIGHT, ("success", 2)), f"state and tries: {ended}", world)
    for task_id, request in NIGHT.items():
        if request is not None:
            sent = partial(done, world, request)
            # The journal takes a request in when it is answered, which the last one may not be yet.
            world.until(sent, f"{task_id} was not carried out")
            expect(task_id == CONFIRM or len(sent()) == 1, f"{task_id} was carried out {len(sent())} times", world)
    written = [
        one["sample_id"]
        for record in done(world, NIGHT[CONFIRM] or ("", ""))
        for one in json.loads(record.body)["samples"]
    ]
    expect(len(written) == len(set(written)), "a label was written twice", world)
    dataset = emulator.dataset(world.dataset_id)
    expect(dataset.annotated == len(dataset.samples), "not everything is labeled", world)
    with world.client() as client:
        made = [len(list(one.list(world.dataset_id))) for one in (client.versions, client.team_tasks, client.tasks)]
    expect(made == [1, 1, 1], f"versions, team tasks, labeling tasks: {made}", world)


def ends_with(request: tuple[str, str]) -> Callable[[Any], bool]:
    return lambda call: bool(call.path.endswith(request[1]))


def done(world: StoryWorld, request: tuple[str, str]) -> list[Record]:
    """Return the requests of a kind that were carried out."""
    asks = ends_with(request)
    return world.emulator.journal.select(request[0], match=lambda it: it.status < 300 and asks(it))


def fired(rule: Rule, world: StoryWorld) -> bool:
    if world.run_state() == "failed":
        raise StoryError("the run has failed")
    return bool(rule.fired)


def instances(world: StoryWorld) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.airflow.task_instances(world.dag_id, world.run_id)
    return found


def ti_of(world: StoryWorld, task_id: str) -> str | None:
    """Return the id of the first try of a task as soon as it is about to run."""
    for one in instances(world):
        if one["task_id"] == task_id and one["state"] in ("queued", "running"):
            expect(one["try_number"] == 1, f"{task_id} is in try {one['try_number']} already", world)
            return str(one["id"])
    return None


def sent_by_a_zombie(name: str, world: StoryWorld) -> None:
    """The supervisor is killed before the request leaves; its task's process sends it, and cannot store the answer."""
    world.want_gate("before_post")
    sent = set_out(name, world)
    world.at_gate("before_post")
    kill(chosen(worker_of(world), "supervisor"))
    world.open_gate("before_post")
    ends_with_one(name, world, sent)


OF_NIGHT = [name for name in STEPS if name not in CHANGED_BETWEEN]


def stories() -> list[Story]:
    return [
        # The longest one first: all others are told beside it.
        Story("every worker of a night", every_worker_of_a_night),
        # The others are killed then, too, in the long life of those that wait.
        *(Story(f"answered, {name}", partial(answered, name)) for name in OF_NIGHT if not STEPS[name].deferred),
        *(Story(f"changed between, {name}", partial(changed_between, name)) for name in CHANGED_BETWEEN),
        *(Story(f"on its way, {name}", partial(on_its_way, name)) for name in OF_NIGHT if name != "results"),
        *(Story(f"sent by a zombie, {name}", partial(sent_by_a_zombie, name)) for name in ("export", "finish")),
    ]


@pytest.mark.parametrize("story", [*stories()], ids=str)
def test_step(story: Story, run_story: Callable[[Story], None]) -> None:
    run_story(story)


@contextlib.contextmanager
def worlds(airflow: SqliteAirflow, folder: Path, names: list[str]) -> Iterator[list[StoryWorld]]:
    """Give a world for each step, all alive."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(StoryWorld(airflow, f"waits_{name}", folder / name, threading.Event()).alive())
            for name in names
        ]


DONE_AGAIN = frozenset({"sync", "import", "export"})
"""Steps that a clear repeats."""


def test_killed_three_times_and_cleared(airflow: SqliteAirflow, tmp_path: Path) -> None:
    """Each worker is killed when the service has answered, the triggerer while all wait, the workers that resume.

    When all is done, what another one would not change is cleared: nothing is sent.
    """
    names = [name for name, step in STEPS.items() if step.deferred]
    with worlds(airflow, tmp_path, names) as told:
        for world in told:
            world.want_gate("after_post")
            world.want_gate("resumed")
        sent = [set_out(name, world) for name, world in zip(names, told, strict=True)]
        for world in told:
            world.at_gate("after_post")
            kill(worker_of(world))
            world.open_gate("after_post")
        for world in told:
            world.until_before_the_end(partial(is_deferred, world), "the task does not wait")
        airflow.kill_component(FIRST)
        airflow.start_component(FIRST)
        for world in told:
            let_time_pass(world)
        for world in told:
            world.at_gate("resumed")
            kill(worker_of(world))
            world.open_gate("resumed")
        for name, world, count in zip(names, told, sent, strict=True):
            ends_with_one(name, world, count)
            expect(world.tries() == 3, "the worker was not killed twice", world)
        again = [one for one in zip(names, told, sent, strict=True) if one[0] not in DONE_AGAIN]
        results = [world.result() for _, world, _ in again]
        for _, world, _ in again:
            airflow.clear_tasks(world.dag_id, world.run_id, ["job"])
        for (name, world, count), result in zip(again, results, strict=True):
            world.until(partial(is_in_try, world, 4), "the clear has no effect")
            ends_with_one(name, world, count)
            expect(world.result() == result, f"after the clear the result is {world.result()}, not {result}", world)


def is_in_try(world: StoryWorld, number: int) -> bool:
    return world.tries() == number


def is_deferred(world: StoryWorld) -> bool:
    return world.state() == "deferred"
