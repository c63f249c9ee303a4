"""Undo while requests fail, answers are lost or odd, and people work at the same time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_modelarts.client.errors import PermissionDenied, ServiceUnavailable
from airflow_provider_modelarts.labeling.stop_signal import StopSignal
from tests.labeling.reverted_run import PATH, Story, counts

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


def test_samples_that_the_service_refuses_fail_by_their_code(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 20)
    story.confirm()
    bad = story.ids[4]
    fault = emulator.faults.add("PUT", PATH, "fail_sample", sample_id=bad, code="ModelArts.4420", times=None)
    result = story.revert()
    assert fault.fired >= 1
    assert counts(result) == {"cleared": 19, "failed": 1}
    assert result.failures["ModelArts.4420"].samples == (bad,)
    assert "1 x `ModelArts.4420`" in result.markdown()
    assert [sample_id for sample_id, labels in story.now().items() if labels] == [bad]


@pytest.mark.parametrize("text", ["named", "anonymous"])
@pytest.mark.parametrize("relabeled", [0, 20])
def test_a_sample_that_is_refused_and_put_back_by_a_person_is_as_it_was(
    client: ModelArtsClient, emulator: Emulator, relabeled: int, text: str
) -> None:
    story = Story(client, emulator, 20, relabeled=relabeled)
    story.confirm()
    refused = story.ids[4]
    more = {"sample_id": refused} if text == "named" else {"position": 4}
    emulator.faults.add("PUT", PATH, "fail_sample", code="ModelArts.4420", **more)
    if text == "anonymous":
        emulator.variants.results = "missing"

    def put_back(record: Any) -> None:
        if record.method == "PUT":
            story.dataset.edit(refused, story.before[refused])

    emulator.observers.append(put_back)
    result = story.revert()
    assert result.changed == result.failed == result.unknown == 0
    assert result.already == (text == "named")
    assert story.now() == story.before


@pytest.mark.parametrize("kind", ["reset_after", "reset", "html"])
def test_a_lost_answer_is_settled_by_reading(client: ModelArtsClient, emulator: Emulator, kind: str) -> None:
    story = Story(client, emulator, relabeled=10)
    story.confirm()
    fault = emulator.faults.add("PUT", PATH, kind, times=2)
    result = story.revert()
    assert fault.fired == 2
    assert counts(result) == {"restored": 10, "cleared": 50}
    assert story.now() == story.before


def test_a_person_who_corrects_after_a_lost_answer_is_not_overwritten(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    story = Story(client, emulator, 10)
    story.confirm()
    corrected = story.ids[2]

    def correct(record: Any) -> None:
        if record.method == "PUT" and record.fault:
            story.dataset.edit(corrected, "corrected")

    emulator.observers.append(correct)
    fault = emulator.faults.add("PUT", PATH, "reset")
    result = story.revert()
    assert fault.fired == 1
    assert counts(result) == {"cleared": 9, "changed": 1}
    assert story.dataset.names_of(corrected) == ["corrected"]


def test_a_revert_that_has_not_ended_has_no_counts(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 10)
    story.confirm()
    run = story.run()
    seen: list[object] = [run.result()]
    emulator.observers.append(lambda _: seen.append(run.result()))
    assert run.revert(StopSignal()).cleared == 10
    assert len(seen) > 10
    assert set(seen) == {None}
    assert (result := run.result()) is not None
    assert result.cleared == 10


def test_what_ends_it_early_says_what_was_done(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 60)
    story.confirm()
    emulator.faults.add("PUT", PATH, "status", status=403, code="ModelArts.0112", after=1, times=None)
    run = story.run(batch_size=20)
    with pytest.raises(PermissionDenied):
        run.revert(StopSignal())
    assert (result := run.result()) is not None
    assert counts(result) == {"cleared": 20}
    emulator.faults.clear()
    assert counts(story.revert()) == {"already": 20, "cleared": 40}


def test_asked_to_stop_it_lets_no_further_write_out(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 60)
    story.confirm()
    result = story.revert(batch_size=20, should_stop=lambda: story.writes > 0)
    assert result.stopped
    assert story.writes == 1
    assert counts(result) == {"cleared": 20}


def test_asked_to_stop_while_it_reads_it_writes_nothing(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 20)
    story.confirm()
    result = story.revert(should_stop=lambda: emulator.journal.count("GET", PATH) > 0)
    assert (result.stopped, result.seen, story.writes) == (True, 0, 0)


def test_reads_are_fresh_when_they_are_written(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    story = Story(client, emulator, 30)
    story.confirm()
    corrected = story.ids[29]
    reads: Counter[str] = Counter()

    def slow(record: Any) -> None:
        if record.method == "GET" and record.path.rpartition("/")[2] in story.proposals:
            reads[record.path.rpartition("/")[2]] += 1
            if sum(reads.values()) == 30:
                # everything was read once; a pause, in which a person works
                moved_clock.advance(60)
                story.dataset.edit(corrected, "corrected")

    emulator.observers.append(slow)
    result = story.revert()
    assert sum(reads.values()) > 30
    assert counts(result) == {"cleared": 29, "changed": 1}
    assert story.dataset.names_of(corrected) == ["corrected"]


@pytest.mark.parametrize("relabeled", [0, 30])
def test_a_service_that_wants_to_be_left_alone_gets_no_old_write_afterwards(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, relabeled: int
) -> None:
    story = Story(client, emulator, 30, relabeled=relabeled)
    story.confirm()
    corrected = story.ids[7]

    def correct(record: Any) -> None:
        if record.method == "PUT" and record.status == 429:
            story.dataset.edit(corrected, "corrected")

    emulator.observers.append(correct)
    fault = emulator.faults.add("PUT", PATH, "status", status=429, headers={"Retry-After": "40"}, times=2)
    result = story.revert()
    assert fault.fired == 2
    assert sum(moved_clock.slept) >= 80
    assert counts(result) == {"restored" if relabeled else "cleared": 29, "changed": 1}
    assert story.dataset.names_of(corrected) == ["corrected"]


# --- odd answers

ODD_ANSWERS: dict[str, dict[str, Any]] = {
    "an error in a success": {"status": 200, "body": '{"error_code": "ModelArts.9999", "error_msg": "odd"}'},
    "a fault in a success": {"status": 200, "body": '{"success": false, "error_code": "ModelArts.0104"}'},
    "nothing": {"status": 200, "body": "{}"},
    "another sample": {"status": 200, "body": '{"sample_id": "another", "labels": []}'},
    "no id": {"status": 200, "body": '{"labels": []}'},
    "a list": {"status": 200, "body": "[]"},
    "null": {"status": 200, "body": "null"},
    "a bad request": {"status": 400, "code": "ModelArts.0104"},
    "no answer": {"status": 503},
}


@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_a_sample_whose_read_is_odd_has_failed_and_the_others_are_undone(
    client: ModelArtsClient, emulator: Emulator, answer: str
) -> None:
    story = Story(client, emulator, 20, relabeled=3)
    story.confirm()
    odd = story.ids[::7]
    fault = emulator.faults.add(
        "GET", PATH, "status", times=None, match=lambda call: call.path.endswith(tuple(odd)), **ODD_ANSWERS[answer]
    )
    result = story.revert(concurrency=1)
    assert fault.fired >= len(odd)
    assert counts(result) == {"restored": 2, "cleared": 15, "failed": 3}
    assert [sample_id for sample_id in odd if not story.now()[sample_id]] == []
    assert sum(failure.count for failure in result.failures.values()) == 3
    emulator.faults.clear()
    assert counts(story.revert()) == {"restored": 1, "cleared": 2, "already": 17}
    assert story.now() == story.before


def test_a_read_that_is_odd_once_is_repeated(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 20)
    story.confirm()
    emulator.faults.add("GET", PATH, "status", after=3, **ODD_ANSWERS["another sample"])
    assert counts(story.revert()) == {"cleared": 20}


def test_a_service_that_is_down_ends_the_undo(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 60)
    story.confirm()
    emulator.faults.add("GET", PATH, "status", status=503, times=None, after=20)
    run = story.run(batch_size=20)
    with pytest.raises(ServiceUnavailable):
        run.revert(StopSignal())
    assert (result := run.result()) is not None
    assert counts(result) == {"cleared": 20}


@pytest.mark.parametrize("labels", ["[null]", '["rose"]', '"rose"', '{"name": "rose"}', '[null, {"name": "rose"}]'])
def test_a_sample_whose_labels_are_none_has_failed(client: ModelArtsClient, emulator: Emulator, labels: str) -> None:
    story = Story(client, emulator, 5)
    story.confirm()
    odd = story.ids[2]
    body = f'{{"sample_id": "{odd}", "labels": {labels}}}'
    emulator.faults.add(
        "GET", PATH, "status", times=None, status=200, body=body, match=lambda call: call.path.endswith(odd)
    )
    assert counts(story.revert()) == {"cleared": 4, "failed": 1}


@pytest.mark.parametrize("relabeled", [0, 10])
@pytest.mark.parametrize("answer", ["an error in a success", "another sample", "no id"])
def test_an_odd_read_after_a_lost_answer_is_not_taken_for_an_undone_sample(
    client: ModelArtsClient, emulator: Emulator, answer: str, relabeled: int
) -> None:
    story = Story(client, emulator, 10, relabeled=relabeled)
    story.confirm()
    odd = story.ids[4]
    emulator.faults.add("PUT", PATH, "reset")

    def begin(record: Any) -> None:
        if record.method == "PUT" and record.fault:
            emulator.faults.add(
                "GET", PATH, "status", times=None, match=lambda call: call.path.endswith(odd), **ODD_ANSWERS[answer]
            )

    emulator.observers.append(begin)
    assert counts(story.revert()) == {"restored" if relabeled else "cleared": 9, "failed": 1}


@settings(deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_happens_nobody_loses_a_label(
    client: ModelArtsClient, emulator: Emulator, data: st.DataObject
) -> None:
    emulator.faults.clear()
    story = Story(client, emulator, 24, relabeled=data.draw(st.integers(0, 24)), seed=data.draw(st.integers(0, 99)))
    confirmed = data.draw(st.sets(st.sampled_from(story.ids)))
    story.confirm(sorted(confirmed))
    edits = data.draw(st.dictionaries(st.sampled_from(story.ids), st.sampled_from([[], ["mine"], ["mine", "too"]])))
    for sample_id, labels in edits.items():
        story.dataset.edit(sample_id, labels)
    left = story.now()
    for kind in data.draw(st.lists(st.sampled_from(["reset", "reset_after", "html", "delay"]), max_size=3)):
        emulator.faults.add(data.draw(st.sampled_from(["PUT", "GET"])), PATH, kind, after=data.draw(st.integers(0, 5)))
    result = story.revert(batch_size=data.draw(st.sampled_from([5, 100])))
    now = story.now()
    for sample_id in story.ids:
        if sample_id in edits or sample_id not in confirmed:
            assert now[sample_id] == left[sample_id]
        else:
            assert now[sample_id] == story.before[sample_id]
    assert result.seen == len(confirmed)
    assert result.failed == 0
