"""Review and acceptance of what a team has labeled (contract 5.1, 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.emulator.http.schema import SAMPLE_STATES

if TYPE_CHECKING:
    from tests.emulator.conftest import Caller

A, B, R = "a@example.com", "b@example.com", "r@example.com"


class Team:
    """Six samples: the first four are labeled "3" by A, the fifth by B; the sixth waits. Reviewers on demand."""

    def __init__(self, digits: Caller, *, reviewers: tuple[str, ...] = ()) -> None:
        self.digits, self.emulator, self.dataset = digits, digits.emulator, digits.dataset
        unlabeled = [one for one, sample in digits.dataset.samples.items() if not sample.labels]
        self.ids = unlabeled[:6]
        self.task_id = digits.emulator.create_team_task(
            digits.dataset_id, [A, B], sample_ids=self.ids, reviewers=reviewers
        )
        self.workers = {email: worker_id for worker_id, email in self.dataset.team_workers(self.task_id).items()}
        self.labeled = [(one, self.workers[A]) for one in self.ids[:4]] + [(self.ids[4], self.workers[B])]
        for sample_id, worker_id in self.labeled:
            self.dataset.label_team_sample(self.task_id, sample_id, "3", worker_id)
        self.url = f"/workforce-tasks/{self.task_id}"

    def wait(self) -> None:
        self.emulator.clock.advance(self.emulator.team_seconds)

    def post(self, tail: str, body: Any, status: int = 200) -> Any:
        response = self.digits("POST", self.url + tail, json=body)
        assert response.status_code == status, response.text
        return response.json()

    def refused(self, method: str, tail: str, body: Any = None, **query: Any) -> tuple[int, str]:
        return self.digits.refused(method, self.url + tail, json=body, params=query)

    def begin(self, **body: Any) -> str:
        task_id: str = self.post("/acceptance", body or {"sampling_rate": 1})["task_id"]
        self.wait()
        return task_id

    def sampled(self, state: str = "__WORKFORCE_SAMPLED__") -> list[tuple[str, str]]:
        found = self.digits.get(self.url + "/data-annotations/samples", sample_state=state, limit=100)["samples"]
        return [(one["sample_id"], one["worker_id"]) for one in found]

    def judge(self, *copies: tuple[str, str], accept: bool = True, **more: Any) -> None:
        comments = [{"sample_id": one, "worker_id": worker, "accept": accept, **more} for one, worker in copies]
        assert self.post("/acceptance/batch-comment", {"comments": comments}) == {}

    def finish(self, action: int, **body: Any) -> Any:
        response = self.digits(
            "PUT", self.url + "/acceptance/status", json={"action": action, **body}, params={"locale": "en-us"}
        )
        assert response.status_code == 200, response.text
        return response.json()

    @property
    def status(self) -> int:
        return self.dataset.team_status(self.task_id)

    def in_dataset(self) -> list[list[str]]:
        return [self.dataset.names_of(one) for one in self.ids]

    def phases(self) -> list[str]:
        phases = self.dataset.team_copies(self.task_id)
        return [phases[key] for key in self.labeled]


@pytest.fixture
def team(digits: Caller) -> Team:
    return Team(digits)


@pytest.fixture
def reviewed_team(digits: Caller) -> Team:
    return Team(digits, reviewers=(R,))


def test_labels_reach_the_dataset_only_after_acceptance(team: Team) -> None:
    assert team.post("/acceptance", {"sampling_rate": 0.5})["task_id"]
    assert team.status == 7
    assert team.refused("PUT", "/acceptance/status", {"action": 0}, locale="en-us") == (403, "ModelArts.4613")
    team.wait()
    assert team.status == 2
    assert len(team.sampled()) == 3
    assert team.in_dataset() == [[]] * 6
    assert team.finish(0) == {}
    assert team.status == 5
    assert team.in_dataset() == [[]] * 6
    assert team.refused("PUT", "/acceptance/status", {"action": 0}, locale="en-us") == (400, "ModelArts.4623")
    team.wait()
    assert team.in_dataset() == [["3"]] * 5 + [[]], "also those that were not drawn"
    assert team.status == 3
    assert team.phases() == ["accepted"] * 5
    author = team.digits.get(f"/data-annotations/samples/{team.ids[4]}")["annotated_by"]
    assert author == f"human/{B}"


ACTIONS = {
    # what becomes of: accepted, rejected, drawn and not judged
    0: ("accepted", "accepted", "accepted", 3),
    1: ("rejected", "rejected", "rejected", 4),
    4: ("accepted", "rejected", "accepted", 4),
    5: ("accepted", "rejected", "rejected", 4),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_what_an_action_does_to_judged_copies(team: Team, action: int) -> None:
    team.begin()
    team.judge(team.labeled[0])
    team.judge(team.labeled[1], accept=False)
    team.finish(action)
    team.wait()
    *expected, status = ACTIONS[action]
    assert team.phases()[:3] == expected
    assert team.status == status
    assert team.in_dataset()[:3] == [["3"] if one == "accepted" else [] for one in expected]
    report = team.digits.get(team.url)["checking_task_desc"]
    assert (report["action"], report["checking_stats"]["checked_sample_count"]) == (action, 2)


def test_a_cancelled_acceptance_leaves_everything_as_it_was(team: Team) -> None:
    team.begin()
    team.judge(team.labeled[0])
    assert team.finish(2) == {}
    assert team.status == 1
    assert team.phases() == ["uncheck"] * 5
    assert team.sampled() == []
    assert team.in_dataset() == [[]] * 6
    team.begin()
    assert len(team.sampled("__WORKFORCE_SAMPLED_UNCHECK__")) == 5


def test_conflicts_are_listed_and_labels_of_the_dataset_stay_unless_they_are_to_be_overwritten(team: Team) -> None:
    team.dataset.edit(team.ids[0], "7")
    team.dataset.edit(team.ids[1], "3")
    team.begin()
    listed = team.finish(3)
    assert [one["sample_id"] for one in listed["samples"]] == [team.ids[0]]
    assert listed["sample_count"] == 1
    assert team.status == 2, "it only lists"
    team.finish(0)
    team.wait()
    assert team.in_dataset()[:2] == [["7"], ["3"]]


def test_overwriting_replaces_labels_of_the_dataset(team: Team) -> None:
    team.dataset.edit(team.ids[0], "7")
    team.begin()
    team.finish(0, overwrite_last_result=True)
    team.wait()
    assert team.in_dataset()[0] == ["3"]


def test_rejected_copies_are_labeled_and_accepted_again(team: Team) -> None:
    team.begin()
    team.finish(1)
    team.wait()
    assert team.status == 4
    assert team.refused("POST", "/acceptance", {"sampling_num": 1}) == (400, "ModelArts.4625")
    one = {"sample_id": team.ids[0], "labels": [{"name": "5"}]}
    answer = team.digits("PUT", team.url + "/data-annotations/samples", json={"samples": [one], "email": A})
    assert answer.json() == {"success": True}
    team.begin(sampling_num=3)
    assert team.sampled() == [(team.ids[0], team.workers[A])]
    team.finish(0)
    team.wait()
    assert team.in_dataset()[0] == ["5"]
    assert team.status == 3


def test_one_acceptance_at_a_time(team: Team) -> None:
    team.post("/acceptance", {"sampling_num": 2})
    assert team.refused("POST", "/acceptance", {"sampling_num": 2}) == (400, "ModelArts.4623")
    team.wait()
    assert team.refused("POST", "/acceptance", {"sampling_num": 2}) == (400, "ModelArts.4623")
    team.finish(0)
    assert team.refused("POST", "/acceptance", {"sampling_num": 2}) == (400, "ModelArts.4623")


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sampling_num": 1, "sampling_rate": 0.5},
        {"sampling_num": 0},
        {"sampling_num": True},
        {"sampling_num": 1.5},
        {"sampling_rate": 0},
        {"sampling_rate": 1.01},
        {"sampling_rate": "0.5"},
    ],
)
def test_the_sampling_is_a_number_or_a_share(team: Team, body: dict[str, Any]) -> None:
    assert team.refused("POST", "/acceptance", body) == (400, "ModelArts.0104")
    assert team.status == 1


@pytest.mark.parametrize(("body", "drawn"), [({"sampling_num": 9}, 5), ({"sampling_rate": 0.2}, 1)])
def test_so_many_are_drawn_as_there_are(team: Team, body: dict[str, Any], drawn: int) -> None:
    team.begin(**body)
    assert len(team.sampled()) == drawn


def test_an_acceptance_is_the_owners(team: Team) -> None:
    team.emulator.team_member = A
    assert team.refused("POST", "/acceptance", {"sampling_num": 1}) == (403, "ModelArts.4600")
    team.emulator.team_member = None
    team.begin()
    team.emulator.team_member = A
    comment = {"sample_id": team.ids[0], "worker_id": team.workers[A], "accept": True}
    assert team.refused("POST", "/acceptance/batch-comment", {"comments": [comment]}) == (403, "ModelArts.4600")
    assert team.refused("PUT", "/acceptance/status", {"action": 0}, locale="en-us") == (403, "ModelArts.4600")


def test_a_member_edits_nothing_that_is_being_judged(team: Team) -> None:
    team.begin()
    one = {"sample_id": team.ids[0], "labels": [{"name": "5"}]}
    answer = team.digits("PUT", team.url + "/data-annotations/samples", json={"samples": [one], "email": A}).json()
    assert answer["results"][0]["error_code"] == "ModelArts.4600"


@pytest.mark.wrong_requests
def test_wrong_words_on_an_acceptance(team: Team) -> None:
    comment = {"sample_id": team.ids[0], "worker_id": team.workers[A], "accept": True}
    body = {"comments": [comment]}
    assert team.refused("POST", "/acceptance/batch-comment", body) == (400, "ModelArts.4625")
    assert team.refused("PUT", "/acceptance/status", {"action": 0}, locale="en-us") == (400, "ModelArts.4625")
    assert team.refused("GET", "/acceptance/report") == (400, "ModelArts.4631")
    team.begin(sampling_num=1)
    (drawn,) = team.sampled()
    other = next(one for one in team.labeled if one != drawn)
    wrong = [{"sample_id": other[0], "worker_id": other[1], "accept": True}]
    assert team.refused("POST", "/acceptance/batch-comment", {"comments": wrong}) == (400, "ModelArts.4420")
    for change in ({"accept": 1}, {"comment": "a<b"}, {"comment": "x" * 257}, {"score": "E"}, {"accept": None}):
        body = {"comments": [{**comment, **change}]}
        assert team.refused("POST", "/acceptance/batch-comment", body) == (400, "ModelArts.0104"), change
    assert team.refused("POST", "/acceptance/batch-comment", {}) == (400, "ModelArts.0104")
    for bad in ({}, {"action": 6}, {"action": "0"}, {"action": True}):
        assert team.refused("PUT", "/acceptance/status", bad, locale="en-us") == (400, "ModelArts.0104"), bad
    assert team.refused("PUT", "/acceptance/status", {"action": 0}) == (400, "ModelArts.0104"), "no locale"
    assert team.refused("PUT", "/acceptance/status", {"action": 0}, locale="de") == (400, "ModelArts.0104")
    assert team.refused("GET", "/acceptance/report", checking_task_id="other") == (400, "ModelArts.4631")
    assert team.status == 2


def test_a_report_counts_what_was_judged(team: Team) -> None:
    first = team.begin(sampling_num=4)
    drawn = team.sampled()
    report = team.digits.get(team.url + "/acceptance/report", checking_task_id=first)
    assert (report["checking_stats"]["score"], report["checking_stats"]["pass_rate"]) == ("E", 0.0)
    team.judge(drawn[0], score="A")
    team.judge(drawn[1], score="C", accept=False, comment="look again")
    assert team.sampled("__WORKFORCE_SAMPLED_ACCEPTED__") == drawn[:1]
    assert team.sampled("__WORKFORCE_SAMPLED_REJECTED__") == drawn[1:2]
    assert team.sampled("__WORKFORCE_SAMPLED_UNCHECK__") == drawn[2:]
    assert team.sampled("__WORKFORCE_SAMPLED_CHECKED__") == drawn[:2]
    stats = team.digits.get(team.url + "/acceptance/report", checking_task_id=first)["checking_stats"]
    assert stats == {
        "task_id": first,
        "sampling_rate": 0.8,
        "sampling_num": 4,
        "pass_rate": 0.5,
        "score": "B",
        "total_score": 6,
        "total_sample_count": 5,
        "sampled_sample_count": 4,
        "unchecked_sample_count": 2,
        "checked_sample_count": 2,
        "accepted_sample_count": 1,
        "rejected_sample_count": 1,
    }
    shown = team.digits.get(f"{team.url}/data-annotations/samples/{drawn[1][0]}", worker_id=drawn[1][1])
    assert (shown["check_accept"], shown["check_comment"], shown["check_score"]) == (False, "look again", "C")
    team.finish(4)
    team.wait()
    one = {"sample_id": drawn[1][0], "worker_id": drawn[1][1], "labels": [{"name": "5"}]}
    team.digits("PUT", team.url + "/data-annotations/samples", json={"samples": [one]})
    second = team.begin()
    assert team.digits.get(team.url + "/acceptance/report", checking_task_id=first)["checking_stats"] == stats
    report = team.digits.get(team.url + "/acceptance/report", checking_task_id=second)
    assert report["checking_stats"]["sampled_sample_count"] == 1
    assert report["total_stats"]["sampled_sample_count"] == 5


# --- review


def test_labels_wait_for_the_reviewer_first(reviewed_team: Team) -> None:
    team = reviewed_team
    assert team.phases() == ["unreviewed"] * 5
    assert team.refused("POST", "/acceptance", {"sampling_num": 1}) == (400, "ModelArts.4625")
    comment = {"sample_id": team.ids[0], "worker_id": team.workers[A], "accept": True, "comment": "", "score": "A"}
    bad = comment | {"sample_id": team.ids[1], "accept": False, "comment": "no three"}
    for member, expected in ((A, (403, "ModelArts.4600")), (B, (403, "ModelArts.4600"))):
        team.emulator.team_member = member
        assert team.refused("POST", "/data-annotations/review", {"comments": [comment]}) == expected
    team.emulator.team_member = R
    assert team.post("/data-annotations/review", {"comments": [comment, bad]}) == {}
    assert team.phases() == ["uncheck", "rejected", "unreviewed", "unreviewed", "unreviewed"]
    assert team.sampled("__REVIEWED__") == [team.labeled[0]]
    assert team.sampled("__UNREVIEWED__") == team.labeled[2:]
    shown = team.digits.get(team.url + "/data-annotations/samples", sample_state="__REJECTED__")["samples"]
    assert [(one["review_accept"], one["review_comment"], one["review_score"]) for one in shown] == [
        (False, "no three", "A")
    ]
    again = team.post("/data-annotations/review", {"comments": [comment | {"accept": False}]})
    assert again["error_code"] == "ModelArts.4606"
    assert team.phases()[0] == "uncheck", "the first word stays"


@pytest.mark.wrong_requests
def test_what_cannot_be_reviewed(reviewed_team: Team, digits: Caller) -> None:
    team = reviewed_team
    comment = {"sample_id": team.ids[0], "worker_id": team.workers[A], "accept": True}
    unlabeled = comment | {"sample_id": team.ids[5]}
    body = {"comments": [comment, unlabeled]}
    assert team.refused("POST", "/data-annotations/review", body) == (400, "ModelArts.4628")
    assert team.phases()[0] == "unreviewed", "all or nothing"
    unknown = comment | {"worker_id": "nobody"}
    assert team.refused("POST", "/data-annotations/review", {"comments": [unknown]}) == (400, "ModelArts.4420")
    without = {name: value for name, value in comment.items() if name != "worker_id"}
    assert team.refused("POST", "/data-annotations/review", {"comments": [without]}) == (400, "ModelArts.4420")
    for change in ({"accept": "yes"}, {"comment": "a&b"}, {"score": "F"}):
        assert team.refused("POST", "/data-annotations/review", {"comments": [comment | change]})[1] == "ModelArts.0104"
    nobody_reviews = Team(digits)
    body = {"comments": [{"sample_id": nobody_reviews.ids[0], "worker_id": team.workers[A], "accept": True}]}
    assert nobody_reviews.refused("POST", "/data-annotations/review", body) == (403, "ModelArts.4600")


def test_labeling_again_asks_for_a_new_review(reviewed_team: Team) -> None:
    team = reviewed_team
    sample_id = team.ids[0]
    team.dataset.review(team.task_id, sample_id, accept=False, worker_id=team.workers[A], comment="no")
    assert team.phases()[0] == "rejected"
    one = {"sample_id": sample_id, "labels": [{"name": "5"}]}
    team.digits("PUT", team.url + "/data-annotations/samples", json={"samples": [one], "email": A})
    assert team.phases()[0] == "unreviewed"


@pytest.mark.wrong_requests  # an empty state
def test_lists_by_state_at_every_moment(reviewed_team: Team) -> None:
    team = reviewed_team
    first, second, third, fourth, fifth = team.labeled
    everything = team.sampled("")
    assert len(everything) == 12, "each of the two has a copy of each sample"
    written = [{"sample_id": one, "worker_id": worker, "labels": [{"name": "3"}]} for one, worker in team.labeled]
    extra = {"metadata": {"weather": "fog"}, "sample_usage": "EVAL"}
    answer = team.digits(
        "PUT", team.url + "/data-annotations/samples", json={"samples": [{**one, **extra} for one in written]}
    )
    assert answer.json() == {"success": True}

    def lists() -> dict[str, list[tuple[str, str]]]:
        return {state: team.sampled(state) for state in SAMPLE_STATES}

    unlabeled = [copy for copy in everything if copy not in team.labeled]
    nothing: dict[str, list[tuple[str, str]]] = {state: [] for state in SAMPLE_STATES}
    labeled = {"__ALL__": team.labeled, "__NONE__": unlabeled}
    assert lists() == nothing | labeled | {"__UNREVIEWED__": team.labeled}

    for one, worker in team.labeled[:4]:
        team.dataset.review(team.task_id, one, worker_id=worker)
    waiting = [first, second, third, fourth]
    reviewed = {"__UNREVIEWED__": [fifth], "__REVIEWED__": waiting, "__UNCHECK__": waiting}
    assert lists() == nothing | labeled | reviewed

    team.begin()
    team.judge(first)
    team.judge(second, accept=False)
    drawn = {
        "__WORKFORCE_SAMPLED__": waiting,
        "__WORKFORCE_SAMPLED_UNCHECK__": [third, fourth],
        "__WORKFORCE_SAMPLED_CHECKED__": [first, second],
        "__WORKFORCE_SAMPLED_ACCEPTED__": [first],
        "__WORKFORCE_SAMPLED_REJECTED__": [second],
    }
    assert lists() == nothing | labeled | reviewed | drawn
    # Up to here nothing of all that is in the dataset.
    for sample_id in team.ids:
        sample = team.digits.get(f"/data-annotations/samples/{sample_id}")
        assert (sample["labels"], sample["annotated_by"], "sample_usage" in sample) == ([], "", False)
        assert "weather" not in sample["metadata"]

    team.finish(4)
    team.wait()
    ended = {"__ACCEPTED__": [first, third, fourth], "__REJECTED__": [second], "__UNCHECK__": []}
    assert lists() == nothing | labeled | reviewed | drawn | ended
    usages = [team.digits.get(f"/data-annotations/samples/{one}").get("sample_usage") for one in team.ids]
    assert usages == ["EVAL", None, "EVAL", "EVAL", None, None]
    assert team.in_dataset() == [["3"], [], ["3"], ["3"], [], []]
