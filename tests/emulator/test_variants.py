"""Switchable quirks, team copies, determinism, and the ways to get an emulator (contract 9 and 10)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_modelarts.emulator import Emulator, pytest_plugin
from tests.emulator.conftest import Caller

if TYPE_CHECKING:
    from collections.abc import Callable

AUTO = "/auto-annotations/samples"
modelarts_emulator = pytest_plugin.modelarts_emulator


@pytest.mark.parametrize(("form", "kind"), [("bool", bool), ("number", int), ("text", str)])
def test_forms_of_hard(proposals: Callable[..., Caller], form: str, kind: type) -> None:
    caller = proposals(40, hard_share=0.5)
    caller.emulator.variants.hard = form
    values = {sample["metadata"]["@modelarts:hard"] for sample in caller.walk()}
    assert {type(value) for value in values} == {kind}
    assert len(values) == 2


@pytest.mark.parametrize("form", ["mixed", "int", "float"])
def test_forms_of_progress(digits: Caller, form: str) -> None:
    digits.emulator.variants.progress = form
    task_id = digits.start()
    seen = []
    for _ in range(3):
        digits.emulator.clock.advance(1)
        seen.append(type(digits.get(f"/tasks/{task_id}")["progress"]))
    kinds = {"mixed": {int, float}, "int": {int}, "float": {float}}
    assert set(seen) == kinds[form]


def test_scores_as_text(proposals: Callable[..., Caller]) -> None:
    caller = proposals(20)
    plain = [sample["labels"][0]["score"] for sample in caller.walk()]
    caller.emulator.variants.score = "text"
    served = caller.walk()
    assert [sample["labels"][0]["score"] for sample in served] == [json.dumps(score) for score in plain]
    assert caller.put([{"sample_id": sample["sample_id"], "labels": sample["labels"]} for sample in served])["success"]


def test_extra_and_null_fields(proposals: Callable[..., Caller]) -> None:
    caller = proposals(5)
    caller.emulator.variants.extra_fields = True
    caller.emulator.variants.null_fields = True
    sample = caller.walk()[0]
    assert sample["emulator_extra"]
    assert sample["labels"][0]["emulator_extra"] == 1.0
    assert sample["sample_usage"] is None
    assert caller.get()["emulator_extra"]
    # what was served may come back; name, type and property remain
    assert caller.put([{"sample_id": sample["sample_id"], "labels": sample["labels"]}]) == {"success": True}
    stored = caller.emulator.dataset(caller.dataset_id).labels_of(sample["sample_id"])
    assert set(stored[0]) == {"name", "type", "property"}


def test_a_task_without_its_id(digits: Caller) -> None:
    task_id = digits.start()
    assert digits.get(f"/tasks/{task_id}")["task_id"] == task_id
    digits.emulator.variants.task_id_in_detail = False
    assert not {"task_id", "task_name"} & set(digits.get(f"/tasks/{task_id}"))


def test_204_with_a_body_does_not_disturb_the_next_request(digits: Caller) -> None:
    digits.emulator.variants.body_with_204 = True
    task_id = digits.start()
    assert digits("POST", f"/tasks/{task_id}/stop").status_code == 204
    assert digits.emulator.journal[-1].response == b'{"success":true}'
    assert digits.get(f"/tasks/{task_id}")["status"] == 4


def test_a_list_that_shrinks_while_it_is_read(proposals: Callable[..., Caller]) -> None:
    caller = proposals(50)
    caller.emulator.variants.shrink_list = 5
    totals = [caller.get(AUTO, limit=10, offset=0)["sample_count"] for _ in range(3)]
    assert totals == [50, 45, 40]
    assert caller.emulator.dataset(caller.dataset_id).annotated == 15


# --- team


def test_team_copies_are_separate(digits: Caller) -> None:
    emulator = digits.emulator
    dataset = emulator.dataset(digits.dataset_id)
    chosen = list(dataset.samples)[:3]
    team = emulator.create_team_task(digits.dataset_id, ["a@example.com", "b@example.com"], sample_ids=chosen)
    workers = {email: worker_id for worker_id, email in dataset.team_workers(team).items()}
    url = f"/workforce-tasks/{team}/data-annotations/samples"
    before = dataset.labels_of(chosen[0])

    def put(*samples: dict[str, Any], **body: Any) -> Any:
        return digits("PUT", url, json={"samples": list(samples), **body}).json()

    def written(worker: str, name: str, sample_id: str = chosen[0]) -> dict[str, Any]:
        return {"sample_id": sample_id, "worker_id": workers[worker], "labels": [{"name": name}]}

    assert put(written("a@example.com", "1"), written("b@example.com", "2")) == {"success": True}
    copies = digits.get(url)
    assert copies["sample_count"] == 6
    found = {
        (sample["sample_id"], sample["worker_id"]): [label["name"] for label in sample["labels"]]
        for sample in copies["samples"]
    }
    assert found[chosen[0], workers["a@example.com"]] == ["1"]
    assert found[chosen[0], workers["b@example.com"]] == ["2"]
    assert found[chosen[1], workers["a@example.com"]] == []
    assert dataset.labels_of(chosen[0]) == before
    assert digits.get(f"{url}/{chosen[0]}", worker_id=workers["b@example.com"])["labels"][0]["name"] == "2"
    # only labels that exist; others of the same request are written
    answer = put(written("a@example.com", "nobody"), written("a@example.com", "3", chosen[1]))
    assert [result.get("error_code") for result in answer["results"]] == ["ModelArts.4410", None]
    assert dataset.team_labels_of(team, chosen[1], workers["a@example.com"])[0]["name"] == "3"
    # a member writes its own copy, and not after acceptance
    answer = put(written("b@example.com", "4"), email="a@example.com")
    assert answer["results"][0]["error_code"] == "ModelArts.4600"
    assert put({"sample_id": chosen[0], "labels": [{"name": "5"}]}, email="a@example.com") == {"success": True}
    dataset.accept(team, chosen[0], workers["a@example.com"])
    assert dataset.names_of(chosen[0]) == ["5"]
    answer = put(written("a@example.com", "6"), email="a@example.com")
    assert answer["results"][0]["error_code"] == "ModelArts.4600"
    assert put(written("a@example.com", "7")) == {"success": True}, "the owner may"
    assert put(written("a@example.com", "1", "unknown"))["results"][0]["error_code"] == "ModelArts.4420"
    tasks = digits.get("/workforce-tasks")
    assert (tasks["count"], tasks["tasks"][0]["task_id"]) == (1, team)
    assert digits.get(f"/workforce-tasks/{team}", sample_stats="true")["sample_stats"]["accepted_sample_count"] == 1
    assert digits.get()["workforce_task_count"] == 1


@pytest.mark.parametrize(
    "state", ["__ALL__", "__NONE__", "__UNCHECK__", "__ACCEPTED__", "__REJECTED__", "__REVIEWED__"]
)
def test_team_samples_in_a_state(digits: Caller, state: str) -> None:
    dataset = digits.emulator.dataset(digits.dataset_id)
    chosen = list(dataset.samples)[:4]
    team = digits.emulator.create_team_task(digits.dataset_id, sample_ids=chosen)
    (worker_id,) = dataset.team_workers(team)
    url = f"/workforce-tasks/{team}/data-annotations/samples"
    body = {"samples": [{"sample_id": one, "labels": [{"name": "3"}]} for one in chosen[:3]]}
    assert digits("PUT", url, json=body).json() == {"success": True}
    dataset.accept(team, chosen[0], worker_id)
    expected = {
        "__ALL__": chosen[:3],
        "__NONE__": chosen[3:],
        "__UNCHECK__": chosen[1:3],
        "__ACCEPTED__": chosen[:1],
        "__REJECTED__": [],
        "__REVIEWED__": [],
    }
    answer = digits.get(url, sample_state=state)
    assert answer["sample_count"] == len(expected[state])
    assert [sample["sample_id"] for sample in answer["samples"]] == expected[state]


@pytest.mark.wrong_requests  # lower case and an empty state, as in the examples (quirk 35)
def test_team_states_are_read_as_those_of_a_dataset(digits: Caller) -> None:
    team = digits.emulator.create_team_task(digits.dataset_id)
    url = f"/workforce-tasks/{team}/data-annotations/samples"
    assert digits.get(url, sample_state="")["sample_count"] == 1797
    assert digits.get(url, sample_state="__all__")["sample_count"] == 0
    assert digits.refused("GET", url, params={"sample_state": "__SOME__"}) == (400, "ModelArts.0104")
    assert digits.refused("GET", url, params={"locale": "de"}) == (400, "ModelArts.0104")
    assert "x-image-process=p" in digits.get(url, limit=1, process_parameter="p")["samples"][0]["source"]


def test_a_team_sample_keeps_metadata_and_usage_and_hands_them_on_when_it_is_accepted(digits: Caller) -> None:
    dataset = digits.emulator.dataset(digits.dataset_id)
    sample_id = next(iter(dataset.samples))
    team = digits.emulator.create_team_task(digits.dataset_id, ["a@example.com", "b@example.com"])
    first, second = dataset.team_workers(team)
    url = f"/workforce-tasks/{team}/data-annotations/samples"
    written = {"sample_id": sample_id, "worker_id": first, "labels": [{"name": "3"}]}
    written |= {"metadata": {"@modelarts:hard": True, "weather": "fog"}, "sample_usage": "EVAL"}
    assert digits("PUT", url, json={"samples": [written]}).json() == {"success": True}
    copy = digits.get(f"{url}/{sample_id}", worker_id=first)
    assert (copy["sample_usage"], copy["metadata"]["weather"]) == ("EVAL", "fog")
    assert copy["metadata"]["@modelarts:hard"] is True
    other = digits.get(f"{url}/{sample_id}", worker_id=second)
    assert "sample_usage" not in other
    assert "weather" not in other["metadata"]
    place = f"/data-annotations/samples/{sample_id}"
    assert "weather" not in digits.get(place)["metadata"], "not before acceptance"
    dataset.accept(team, sample_id, first)
    sample = digits.get(place)
    assert (sample["sample_usage"], sample["metadata"]["weather"]) == ("EVAL", "fog")


def test_statistics_of_a_team_task_come_when_they_are_asked_for(digits: Caller) -> None:
    dataset = digits.emulator.dataset(digits.dataset_id)
    chosen = list(dataset.samples)[:2]
    team = digits.emulator.create_team_task(digits.dataset_id, sample_ids=chosen)
    body = {"samples": [{"sample_id": chosen[0], "labels": [{"name": "3"}]}]}
    digits("PUT", f"/workforce-tasks/{team}/data-annotations/samples", json=body)
    statistics = {"sample_stats", "label_stats", "workforce_stats"}
    assert not statistics & set(digits.get(f"/workforce-tasks/{team}"))
    task = digits.get(f"/workforce-tasks/{team}", **dict.fromkeys(statistics, "true"))
    assert task["sample_stats"]["uncheck_sample_count"] == 1
    assert {row["name"]: row["sample_count"] for row in task["label_stats"]}["3"] == 1
    assert task["workforce_stats"] == {"workforce_count": 1, "labeler_count": 1, "reviewer_count": 0}


def test_unknown_team_things(digits: Caller) -> None:
    assert digits.refused("GET", "/workforce-tasks/unknown") == (400, "ModelArts.4619")
    team = digits.emulator.create_team_task(digits.dataset_id)
    url = f"/workforce-tasks/{team}/data-annotations/samples"
    assert digits.refused("PUT", url, json={"email": "x@y.z", "samples": []}) == (400, "ModelArts.4604")
    assert digits.refused("GET", f"{url}/unknown") == (400, "ModelArts.4420")
    digits.emulator.dataset(digits.dataset_id).status = 6
    assert digits.refused("PUT", url, json={"samples": []}) == (400, "ModelArts.4381")


# --- determinism


def _story(seed: int) -> Any:
    with Emulator(seed) as emulator:
        emulator.clock.freeze()
        caller = Caller(emulator, emulator.load_digits())
        task_id = caller.finish(collect_key_sample=True)
        page = caller.get(AUTO, limit=100)["samples"]
        synthetic = Caller(emulator, emulator.load_proposals(20, kind="detection"))
        return (
            emulator.user,
            emulator.password,
            emulator.secret_key,
            emulator.project_id,
            emulator.tokens,
            caller.dataset_id,
            task_id,
            [(s["sample_id"], s["labels"], s["metadata"]["@modelarts:hard_reasons"]) for s in page],
            [(s["sample_id"], s["labels"]) for s in synthetic.walk()],
        )


def test_one_seed_one_story() -> None:
    first, again, other = _story(7), _story(7), _story(8)
    assert first == again
    assert all(left != right for left, right in zip(first, other, strict=True))


def test_the_seed_draws_the_labeled_images() -> None:
    drawn = []
    for seed in (0, 0, 7):
        emulator = Emulator(seed)
        samples = emulator.dataset(emulator.load_digits(labeled=153)).samples.values()
        drawn.append([sample.key for sample in samples if sample.labels])
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 153


def test_bad_numbers_are_refused() -> None:
    emulator = Emulator()
    with pytest.raises(ValueError, match="labeled must lie"):
        emulator.load_digits(labeled=1798)
    with pytest.raises(ValueError, match="kind is one of"):
        emulator.load_proposals(1, kind="video")
    with pytest.raises(ValueError, match="hard_share"):
        emulator.load_proposals(1, hard_share=2)
    with pytest.raises(ValueError, match="cannot be moved back"):
        emulator.clock.advance(-1)


def test_the_clock() -> None:
    clock = Emulator().clock
    clock.freeze()
    begin = clock.now()
    assert clock.now() == begin
    clock.advance(1.5)
    assert clock.now() == begin + 1.5
    clock.resume()
    assert begin + 1.5 <= clock.now() < begin + 60


def test_proposals_of_ones_own(proposals: Callable[..., Caller]) -> None:
    caller = proposals(3)
    document = {
        "sample_id": "s" * 34,
        "labels": [{"name": "x", "odd": [1, 1.0]}],
        "metadata": {"@modelarts:hard": "True"},
    }
    caller.emulator.dataset(caller.dataset_id).propose([document])
    served = caller.get(AUTO, limit=1)["samples"][0]
    assert json.dumps({name: served[name] for name in document}) == json.dumps(document)
    assert caller.get(AUTO)["sample_count"] == 4


# --- ways to get one


def test_credentials_can_be_given() -> None:
    emulator = Emulator(
        user="u", password="p", domain="d", access_key="ak", secret_key="sk", signature="sentinel", region="eu-1"
    )
    connection = emulator.connection
    assert (connection["login"], connection["password"], connection["conn_type"]) == ("u", "p", "modelarts")
    assert connection["extra"] == {
        "auth": "password",
        "region": "eu-1",
        "iam_endpoint": emulator.url,
        "domain_name": "d",
        "project_name": "eu-1",
    }
    signed = emulator.connection_for("access_key")
    assert (signed["login"], signed["password"], signed["extra"]["project_id"]) == ("ak", "sk", emulator.project_id)
    token = emulator.connection_for("token")
    assert token["password"] == emulator.tokens[-1]
    assert set(emulator.secrets) == {"p", "sk", "sentinel", token["password"]}
    with pytest.raises(ValueError, match="auth is"):
        emulator.connection_for("magic")


def test_the_fixture(modelarts_emulator: Emulator) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_MODELARTS_DEFAULT"])
    assert connection == modelarts_emulator.connection
    assert requests.get(connection["host"] + "/v3/auth/projects", timeout=10).status_code == 401


def test_the_command_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; from {0} import main; sys.exit(main(['--port', '0']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code.format("airflow_provider_modelarts.emulator.cli")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(7)]
        url = lines[0].split()[-1]
        assert requests.get(f"{url}/v3/projects", timeout=10).status_code == 401
        variable, _, text = lines[4].partition("=")
        assert variable == "export AIRFLOW_CONN_MODELARTS_DEFAULT"
        connection = json.loads(text.strip("'"))
        assert connection["host"] == url
        page = connection["extra"]["console"].replace("{dataset_id}", lines[2].split()[-1])
        assert lines[6].endswith(page)
        assert requests.get(page, timeout=10).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    from airflow_provider_modelarts.emulator.cli import main

    assert main(["--port", "0", "--data", "/nonexistent"]) == 1
    assert "holds no image" in capsys.readouterr().err
