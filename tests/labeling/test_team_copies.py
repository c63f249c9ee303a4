"""A retry of a write to a team task reads first, and leaves alone what somebody has changed (contract 5.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import ConfirmationError, InvalidRequest, ServiceUnavailable
from airflow_provider_modelarts.client.resources.team_samples import TeamSample
from airflow_provider_modelarts.labeling.team_copies import Tries, fingerprint_of
from airflow_provider_modelarts.labeling.team_samples import clear_team_samples, update_team_samples

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

A, B = "a@example.com", "b@example.com"
WRITE = ("PUT", "workforce-tasks")


class Notes:
    """What outlives tries, as JSON."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str) -> Any:
        return json.loads(self.values[key]) if key in self.values else None

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


class Team:
    """A team task of six samples and two members; the first member's copies are written to."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator) -> None:
        self.client, self.emulator = client, emulator
        self.dataset = emulator.dataset(emulator.load_digits(labeled=150))
        self.ids = tuple(sorted(self.dataset.samples)[:6])
        self.task_id = self.dataset.create_team_task((A, B), self.ids)
        self.worker, self.other = self.dataset.team_workers(self.task_id)
        self.notes = Notes()

    def samples(self, name: str = "7") -> list[dict[str, Any]]:
        return [{**copy, "labels": [{"name": name, "type": 0}]} for copy in self.copies()]

    def copies(self) -> list[dict[str, Any]]:
        return [{"sample_id": one, "worker_id": self.worker} for one in self.ids]

    def update(self, number: int, samples: Any = None, **more: Any) -> Any:
        given = {"batch_size": 2, "tries": Tries(number == 1, "night", self.notes), **more}
        return update_team_samples(
            self.client, self.dataset.dataset_id, self.task_id, self.samples() if samples is None else samples, **given
        )

    def clear(self, number: int, samples: Any = None, **more: Any) -> Any:
        given = {"tries": Tries(number == 1, "night", self.notes), **more}
        return clear_team_samples(
            self.client, self.dataset.dataset_id, self.task_id, self.copies() if samples is None else samples, **given
        )

    def label(self, place: int, name: str | list[Any], worker: str | None = None) -> None:
        self.dataset.label_team_sample(self.task_id, self.ids[place], name, worker or self.worker)

    def names(self, worker: str | None = None) -> list[str]:
        found = [self.dataset.team_labels_of(self.task_id, one, worker or self.worker) for one in self.ids]
        return ["".join(label["name"] for label in labels) for labels in found]

    def refuse_second_write(self) -> Any:
        """Let the second write of a try fail for a reason that is none of the samples' fault."""
        seen: list[Any] = []
        return self.emulator.faults.add(
            *WRITE,
            "status",
            times=1,
            status=403,
            code="ModelArts.0103",
            match=lambda call: len(seen) or seen.append(call),
        )


@pytest.fixture
def team(client: ModelArtsClient, emulator: Emulator) -> Team:
    return Team(client, emulator)


def counts(result: Any) -> dict[str, int]:
    found: dict[str, int] = result.to_xcom()
    assert found["samples"] == sum(found[name] for name in ("updated", "unchanged", "changed", "failed", "unknown"))
    return {name: number for name, number in found.items() if number and name not in ("samples", "requests")}


def test_only_what_is_not_yet_as_asked_is_written(team: Team) -> None:
    team.label(0, "7")
    team.label(1, "3")
    result = team.update(1)
    result.check()
    assert counts(result) == {"updated": 5, "unchanged": 1}
    assert result.requests == 3
    assert team.names() == ["7"] * 6
    again = team.update(1, tries=None)
    assert (counts(again), again.requests) == ({"unchanged": 6}, 0)


def test_what_the_machine_proposes_to_a_member_is_no_label_yet(team: Team) -> None:
    """Proposed labels are shown where labels stand, and only the state of the copy tells them apart."""
    task = team.dataset._dataset.team_tasks[team.task_id]
    task.proposed[team.ids[0]] = [{"name": "7", "type": 0, "score": 0.5}]
    shown = next(iter(team.client.team_samples.list(team.dataset.dataset_id, team.task_id)))
    assert (shown.label_names, shown.sample_status) == (["7"], "UN_ANNOTATION")
    assert counts(team.update(1)) == {"updated": 6}
    assert team.names() == ["7"] * 6


def test_a_retry_writes_what_is_missing_and_no_more(team: Team) -> None:
    team.label(5, "3")
    team.refuse_second_write()
    with pytest.raises(Exception, match="0103"):
        team.update(1)
    assert team.names() == ["7", "7", "", "", "", "3"]
    result = team.update(2)
    result.check()
    assert counts(result) == {"updated": 4, "unchanged": 2}
    assert result.warning is None
    assert team.names() == ["7"] * 6


@pytest.mark.parametrize(
    ("place", "name"),
    [(0, "4"), (0, []), (3, "4"), (5, "4"), (5, [])],
    ids=[
        "one that was written",
        "one that was written, back to what it was",
        "one that was not written",
        "labels that were to be replaced",
        "labels that were to be replaced, taken away",
    ],
)
def test_a_retry_leaves_alone_what_somebody_has_changed_in_between(team: Team, place: int, name: Any) -> None:
    team.label(5, "3")
    team.refuse_second_write()
    with pytest.raises(Exception, match="0103"):
        team.update(1)
    team.label(place, name)
    result = team.update(2)
    result.check()
    assert counts(result)["changed"] == 1
    assert result.left == (team.ids[place],)
    assert team.ids[place] in result.warning
    assert "not overwritten" in result.warning
    expected = ["7"] * 6
    expected[place] = name or ""
    assert team.names() == expected
    assert counts(team.update(3)) == {"unchanged": 5, "changed": 1}
    assert team.names() == expected


def test_after_a_partial_failure_a_retry_sends_only_what_has_failed(team: Team) -> None:
    """HTTP 200 without ids: the positions only name suspects."""
    team.emulator.variants.results = "shuffled"
    team.emulator.faults.add(*WRITE, "fail_sample", sample_id=team.ids[2])
    first = team.update(1, batch_size=100)
    with pytest.raises(ConfirmationError, match=team.ids[2]):
        first.check()
    assert counts(first) == {"updated": 5, "failed": 1}
    team.label(0, "4")
    second = team.update(2, batch_size=100)
    second.check()
    assert counts(second) == {"updated": 1, "unchanged": 4, "changed": 1}
    (_, record) = team.emulator.journal.select(*WRITE)
    assert [one["sample_id"] for one in json.loads(record.body)["samples"]] == [team.ids[2]]
    assert team.names() == ["4", *["7"] * 5]


@pytest.mark.parametrize("fault", ["reset", "reset_after"])
def test_a_lost_answer_costs_no_label_either(team: Team, fault: str) -> None:
    team.emulator.faults.add(*WRITE, fault)
    first = team.update(1, batch_size=100)
    assert counts(first) == ({"unknown": 6} if fault == "reset" else {"updated": 6})
    team.label(1, "4")
    assert counts(team.update(2))["changed"] == 1
    assert team.names() == ["7", "4", *["7"] * 4]


def test_a_clear_begins_from_the_start(team: Team) -> None:
    team.update(1)
    team.label(0, "4")
    result = team.update(2, tries=Tries(False, "night, cleared", team.notes))
    assert counts(result) == {"updated": 1, "unchanged": 5}
    assert team.names() == ["7"] * 6


@pytest.mark.parametrize("why", ["nothing is kept", "other samples"])
def test_where_nothing_tells_what_a_copy_was_only_what_has_no_labels_is_written(team: Team, why: str) -> None:
    team.label(5, "3")
    asked = team.samples()
    if why == "nothing is kept":
        tries = Tries(is_first=False)
    else:
        team.refuse_second_write()
        with pytest.raises(Exception, match="0103"):
            team.update(1, team.samples("1"))
        tries = Tries(False, "night", team.notes)
    result = team.update(2, asked, tries=tries)
    left = {"nothing is kept": ["3"], "other samples": ["1", "1", "3"]}[why]
    assert counts(result) == {"updated": 6 - len(left), "unknown": len(left)}
    assert sorted(team.names()) == [*left, *["7"] * (6 - len(left))]
    with pytest.raises(ConfirmationError, match=f"not_written.*new DAG run.*{team.ids[5]}"):
        result.check()


def test_metadata_that_is_to_be_written_is_compared_too(team: Team) -> None:
    samples = [{**one, "metadata": {"@modelarts:hard": 1}} for one in team.samples()]
    team.update(1, tries=None)
    assert counts(team.update(1, samples, tries=None)) == {"updated": 6}
    assert counts(team.update(1, samples, tries=None)) == {"unchanged": 6}


def test_what_the_tries_keep_is_small() -> None:
    def copy(number: int, status: str = "MANUAL_ANNOTATION") -> TeamSample:
        labels = [{"name": f"label {number}", "type": 0}]
        return TeamSample({"sample_id": f"{number:032x}", "sample_status": status, "labels": labels})

    from airflow_provider_modelarts.labeling.team_copies import WriteHistory

    notes = Notes()
    marks = [fingerprint_of(copy(number)) for number in range(10_000)]
    history = WriteHistory.open(Tries(True, "night", notes), ["what"], marks)
    history.mark_sent(range(5000))
    assert len(set(marks)) > 9_990
    assert sum(map(len, notes.values.values())) < 60_000
    assert fingerprint_of(copy(1)) != fingerprint_of(copy(1, "UN_ANNOTATION"))
    again = WriteHistory.open(Tries(False, "night", notes), ["what"], [b"none"] * 10_000)
    assert (again.judge(0, marks[0]), again.judge(7000, marks[7000])) == ("changed", "as before")
    assert again.judge(7000, marks[7001]) == "changed"


# --- time passes between the read and a write


def throttle(team: Team, seconds: int, act: Any, times: int | None = 1) -> Any:
    """Answer writes with 429 for some time; people act while the write waits."""
    return team.emulator.faults.add(
        *WRITE,
        "status",
        times=times,
        status=429,
        code="ModelArts.4206",
        headers={"Retry-After": str(seconds)},
        match=lambda _: act() or True,
    )


@pytest.mark.parametrize("place", [1, 5], ids=["in the batch that waits", "in a later one"])
def test_what_is_changed_while_a_write_waits_is_left_alone(team: Team, moved_clock: MovedClock, place: int) -> None:
    rule = throttle(team, 60, lambda: rule.fired or team.label(place, "4"))
    result = team.update(1)
    result.check()
    assert rule.fired == 1
    assert counts(result) == {"updated": 5, "changed": 1}
    assert result.left == (team.ids[place],)
    assert team.names()[place] == "4"
    assert team.names().count("7") == 5
    assert counts(team.update(2)) == {"unchanged": 5, "changed": 1}


def test_a_clear_that_waits_takes_no_new_labels_away(team: Team, moved_clock: MovedClock) -> None:
    for number in range(6):
        team.label(number, "3")
    rule = throttle(team, 60, lambda: rule.fired or team.label(2, "4"))
    assert counts(team.clear(1)) == {"updated": 5, "changed": 1}
    assert team.names() == ["", "", "4", "", "", ""]


def test_what_was_labeled_as_asked_while_a_write_waits_is_not_sent(team: Team, moved_clock: MovedClock) -> None:
    rule = throttle(team, 60, lambda: rule.fired or [team.label(number, "7") for number in range(6)])
    result = team.update(1, batch_size=100)
    assert (counts(result), result.requests) == ({"updated": 6}, 0)
    assert team.emulator.journal.count(*WRITE) == 1, "only the one that was throttled"


def test_a_stop_while_a_write_waits_keeps_it_from_being_sent(team: Team, moved_clock: MovedClock) -> None:
    stops: list[bool] = []
    throttle(team, 1, lambda: stops.append(True))
    result = team.update(1, should_stop=lambda: bool(stops))
    assert counts(result) == {"unknown": 6}
    assert team.emulator.journal.count(*WRITE) == 1
    assert team.names() == [""] * 6


def test_a_service_that_lets_no_write_in_ends_the_try(team: Team, moved_clock: MovedClock) -> None:
    rule = throttle(team, 60, lambda: None, times=None)
    with pytest.raises(ServiceUnavailable, match=f"{team.task_id}.*too old.*Run the task again") as raised:
        team.update(1)
    assert not raised.value.permanent
    assert rule.fired < 20
    assert team.names() == [""] * 6


def test_of_several_copies_none_is_written_while_nobody_is_named(team: Team) -> None:
    """Whose labels a service would replace is not known; it may be those of all."""
    samples = [{"sample_id": one, "labels": [{"name": "7", "type": 0}]} for one in team.ids[:2]]
    result = team.update(1, samples)
    assert counts(result) == {"failed": 2}
    with pytest.raises(ConfirmationError, match=f"no_single_copy.*worker_id.*{team.ids[0]}"):
        result.check()
    assert team.emulator.journal.count(*WRITE) == 0


@pytest.mark.parametrize("name", ["4", "7"])
def test_one_copy_named_in_two_ways_comes_twice(team: Team, name: str) -> None:
    mine = {"sample_id": team.ids[0], "worker_id": team.worker, "labels": [{"name": "7", "type": 0}]}
    nameless = {"sample_id": team.ids[0], "labels": [{"name": name, "type": 0}]}
    with pytest.raises(InvalidRequest, match=f"{team.ids[0]} comes twice"):
        team.update(1, [mine, nameless], worker_email=A)
    with pytest.raises(InvalidRequest, match=f"{team.ids[0]} comes twice"):
        team.clear(1, [team.ids[0], {name: mine[name] for name in ("sample_id", "worker_id")}], worker_email=A)
    assert team.emulator.journal.count(*WRITE) == 0


def test_members_segments_of_speech_need_no_name(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset = emulator.dataset(emulator.load_samples(202, 3, labeled=1))
    said = next(labels for one in dataset.samples if (labels := dataset.labels_of(one)))
    assert "name" not in said[0]
    task_id = dataset.create_team_task((A,))
    (worker,) = dataset.team_workers(task_id)
    samples = [{"sample_id": one, "worker_id": worker, "labels": said} for one in dataset.samples]
    first, again = (update_team_samples(client, dataset.dataset_id, task_id, samples) for _ in range(2))
    assert (counts(first), counts(again)) == ({"updated": 3}, {"unchanged": 3})
    assert [dataset.team_labels_of(task_id, one, worker) for one in dataset.samples] == [said] * 3
    heard = [{**said[0], "property": {**said[0]["property"], "@modelarts:content": "Something else."}}]
    other = update_team_samples(client, dataset.dataset_id, task_id, [{**samples[0], "labels": heard}])
    assert counts(other) == {"updated": 1}
    silent = [{**samples[0], "labels": [{"type": 202, "property": {}}]}]
    with pytest.raises(InvalidRequest, match="a label without a name"):
        update_team_samples(client, dataset.dataset_id, task_id, silent)
    assert counts(clear_team_samples(client, dataset.dataset_id, task_id, list(dataset.samples))) == {"updated": 3}


# --- taking labels away


def test_labels_are_taken_from_the_named_copies_and_from_no_others(team: Team) -> None:
    for place in range(6):
        team.label(place, "3")
        team.label(place, "3", team.other)
    before = [team.dataset.labels_of(one) for one in team.ids]
    result = team.clear(1, json.dumps(team.copies()[:2]))
    result.check()
    assert counts(result) == {"updated": 2}
    assert team.names() == ["", "", *["3"] * 4]
    assert counts(team.clear(1, list(team.ids[:3]), worker_email=B, tries=None)) == {"updated": 3}
    assert team.names(team.other) == ["", "", "", *["3"] * 3]
    assert counts(team.clear(1, tries=None)) == {"updated": 4, "unchanged": 2}
    assert [team.dataset.labels_of(one) for one in team.ids] == before


def test_a_retry_does_not_take_away_what_a_member_has_labeled_since(team: Team) -> None:
    for place in range(6):
        team.label(place, "3")
    team.emulator.faults.add(*WRITE, "fail_sample", sample_id=team.ids[2])
    assert counts(team.clear(1)) == {"updated": 5, "failed": 1}
    team.label(0, "3")  # the very label that it had
    team.label(1, "4")
    result = team.clear(2)
    assert counts(result) == {"updated": 1, "unchanged": 3, "changed": 2}
    assert team.names() == ["3", "4", "", "", "", ""]
    unsure = team.clear(2, tries=Tries(is_first=False))
    assert counts(unsure) == {"unchanged": 4, "unknown": 2}
    assert team.names() == ["3", "4", "", "", "", ""]


def test_a_sample_of_which_it_is_not_certain_whose_copy_is_meant_is_not_sent(team: Team) -> None:
    team.label(0, "3")
    result = team.clear(1, [team.ids[0], "unknown"])
    assert counts(result) == {"failed": 2}
    with pytest.raises(ConfirmationError, match=f"no_single_copy.*worker_id.*{team.ids[0]}"):
        result.check()
    assert team.emulator.journal.count(*WRITE) == 0
    assert team.names()[0] == "3"


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ([], "at least one"),
        ("[]", "at least one"),
        ("None", "no JSON"),
        (None, "at least one"),
        ({"sample_id": "s"}, "at least one"),
        ([""], "sample_id"),
        ([None], "nothing else"),
        ([{"sample_id": "s", "labels": []}], "nothing else"),
        (["s", "s"], "twice"),
    ],
)
def test_copies_that_are_not_named_well_are_refused_at_once(team: Team, samples: Any, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        clear_team_samples(team.client, team.dataset.dataset_id, team.task_id, samples)
    assert len(team.emulator.journal) == 0


def test_where_the_team_task_cannot_be_read_nothing_is_written(team: Team) -> None:
    team.emulator.faults.add("GET", "workforce-tasks", "status", times=None, status=503)
    with pytest.raises(ServiceUnavailable):
        team.update(1)
    assert team.emulator.journal.count(*WRITE) == 0
    assert team.notes.values == {}
