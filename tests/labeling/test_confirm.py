"""Confirming against the emulator, request by request (B13 to B18; contract 3, 4, 10)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import (
    ConfirmationError,
    DatasetBusy,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ServiceUnavailable,
)
from airflow_provider_modelarts.labeling.apply.batch_writer import GIVE_UP, UNKNOWN_PATIENCE
from airflow_provider_modelarts.labeling.apply.confirmation import Confirmation, ConfirmationRequest, confirm
from airflow_provider_modelarts.labeling.policy import GuardFailed, InvalidPolicy, parse_policy
from airflow_provider_modelarts.labeling.results import check
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from airflow_provider_modelarts.labeling.results import Progress
    from tests.support.clock import MovedClock

WRITE = ("PUT", "data-annotations/samples")
KEPT = ("name", "type", "property")


def served(emulator: Emulator, dataset_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return the labels of every proposal as they will be served."""
    return {sample_id: raw["labels"] for sample_id, raw in emulator.dataset(dataset_id).proposals.items()}


def written(emulator: Emulator) -> list[dict[str, Any]]:
    """Return every sample of every write that reached the emulator."""
    return [
        sample for record in emulator.journal if record.method == "PUT" for sample in json.loads(record.body)["samples"]
    ]


def ids_in(body: bytes) -> set[str]:
    """Return the samples that a write names."""
    return {sample["sample_id"] for sample in json.loads(body)["samples"]}


def as_stored(labels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: label[key] for key in KEPT} for label in labels]


@pytest.mark.parametrize("kind", ["classification", "multi_label", "detection"])
@pytest.mark.parametrize("offset_mode", ["page", "record"])
def test_everything_is_confirmed_with_the_labels_as_they_came(
    client: ModelArtsClient, emulator: Emulator, kind: str, offset_mode: str
) -> None:
    emulator.variants.offset_mode = offset_mode
    dataset_id = emulator.load_proposals(350, kind=kind)
    proposed = served(emulator, dataset_id)
    result = confirm(client, dataset_id)
    check(result)
    assert (result.seen, result.confirmed, result.passes) == (350, 350, 1)
    dataset = emulator.dataset(dataset_id)
    assert dataset.unconfirmed == 0
    assert {sample_id: dataset.labels_of(sample_id) for sample_id in proposed} == {
        sample_id: as_stored(labels) for sample_id, labels in proposed.items()
    }
    assert {sample["sample_id"]: sample["labels"] for sample in written(emulator)} == proposed
    metadata = [sample.get("metadata") for sample in written(emulator)]
    assert all(set(one) == {"@modelarts:size"} for one in metadata) if kind == "detection" else not any(metadata)
    names = {name for labels in proposed.values() for name in {label["name"] for label in labels}}
    assert set(result.by_label) == names
    assert result.requests == len([record for record in emulator.journal if "auth/tokens" not in record.path])


@pytest.mark.parametrize(
    "quirk",
    [
        {"hard": "text"},
        {"hard": "number"},
        {"score": "text"},
        {"extra_fields": True},
        {"null_fields": True},
        {"results_on_success": True},
        {"unknown_status": 404},
        {"metadata": "replace"},
        {"strict_requests": True},
    ],
    ids=lambda quirk: next(iter(quirk)),
)
def test_quirks_of_the_service_make_no_difference(
    client: ModelArtsClient, emulator: Emulator, quirk: dict[str, Any]
) -> None:
    dataset_id = emulator.load_proposals(120, kind="detection", hard_share=0.3)
    expected = confirm(client, dataset_id, policy={"min_score": 0.7}, preview=True)
    for name, value in quirk.items():
        setattr(emulator.variants, name, value)
    result = confirm(client, dataset_id, policy={"min_score": 0.7})
    assert 0 < result.confirmed < result.seen
    assert (result.confirmed, result.review, result.left) == (expected.confirmed, expected.review, expected.left)


def test_a_policy_leaves_the_rest_as_it_was(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(250, hard_share=0.2)
    proposed = served(emulator, dataset_id)
    policy = parse_policy({"min_score": "0.8"})
    assert policy is not None
    wanted = {s.sample_id for s in client.proposals.list(dataset_id) if policy.decide(s).action == "confirm"}
    result = confirm(client, dataset_id, policy={"min_score": "0.8"})
    assert (result.seen, result.confirmed, result.review) == (250, len(wanted), 250 - len(wanted))
    assert 0 < result.confirmed < 250
    assert served(emulator, dataset_id) == {key: value for key, value in proposed.items() if key not in wanted}
    again = confirm(client, dataset_id, policy={"min_score": "0.8"})
    assert (again.seen, again.confirmed, again.review) == (result.review, 0, result.review)


def test_a_preview_writes_nothing_and_counts_the_same(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(250, hard_share=0.2)
    preview = confirm(client, dataset_id, policy={"min_score": 0.8}, preview=True)
    assert not written(emulator)
    result = confirm(client, dataset_id, policy={"min_score": 0.8})
    assert (preview.confirmed, preview.review, preview.by_label) == (result.confirmed, result.review, result.by_label)


@pytest.mark.parametrize("planned", [False, True])
def test_a_preview_holds_the_guards(client: ModelArtsClient, emulator: Emulator, planned: bool) -> None:
    dataset_id = emulator.load_proposals(250)
    given: dict[str, Any] = {"policy": {"max_samples": 249, "hard_examples": "confirm"}}
    if planned:
        plan = Bucket() / "plan.jsonl"
        with pytest.raises(GuardFailed):
            confirm(client, dataset_id, plan=plan, **given)
        given = {"plan": plan}
    run = Confirmation(client, ConfirmationRequest.checked(dataset_id, preview=True, **given))
    with pytest.raises(GuardFailed, match="max_samples=249"):
        run.run()
    counted = run.result()
    assert counted is not None
    assert (counted.seen, counted.confirmed) == (250, 250)
    assert not written(emulator)


@pytest.mark.parametrize(
    "guard",
    [{"max_samples": 249}, {"min_samples": 251}, {"max_share_per_label": 0.1}],
    ids=lambda guard: next(iter(guard)),
)
def test_a_guard_that_does_not_hold_stops_before_the_first_write(
    client: ModelArtsClient, emulator: Emulator, guard: dict[str, Any]
) -> None:
    dataset_id = emulator.load_proposals(250)
    run = Confirmation(client, ConfirmationRequest.checked(dataset_id, policy={**guard, "hard_examples": "confirm"}))
    with pytest.raises(GuardFailed, match=next(iter(guard))):
        run.run()
    assert not written(emulator)
    result = run.result()
    assert result is not None
    assert (result.seen, result.left, result.confirmed) == (250, 250, 0)
    assert confirm(client, dataset_id, policy={"max_samples": 250, "hard_examples": "confirm"}).confirmed == 250


def test_one_bad_sample_costs_only_itself(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(300)
    bad = sorted(emulator.dataset(dataset_id).proposals)[150]
    fault = emulator.faults.add(
        "PUT", WRITE[1], "fail_sample", times=None, sample_id=bad, code="ModelArts.4423", message="Size unknown."
    )
    result = confirm(client, dataset_id)
    assert fault.fired == 2
    assert (result.confirmed, result.failed) == (299, 1)
    assert result.failures["ModelArts.4423"].samples == (bad,)
    check(result, "warn")
    with pytest.raises(ConfirmationError, match=f"1 of 300 .*ModelArts.4423.*{bad}") as caught:
        check(result)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["missing", "short", "shuffled"])
def test_positions_only_name_suspects(client: ModelArtsClient, emulator: Emulator, form: str) -> None:
    emulator.variants.results = form
    dataset_id = emulator.load_proposals(120)
    bad = sorted(emulator.dataset(dataset_id).proposals)[7]
    emulator.faults.add("PUT", WRITE[1], "fail_sample", times=None, sample_id=bad, code="ModelArts.4420")
    result = confirm(client, dataset_id)
    assert (result.confirmed, result.failed) == (119, 1)
    assert [failure.samples for failure in result.failures.values()] == [(bad,)]
    assert list(emulator.dataset(dataset_id).proposals) == [bad]


@pytest.mark.parametrize("kind", ["reset", "reset_after", "truncated", "html"])
def test_a_lost_answer_is_looked_up_and_nothing_is_sent_twice_in_effect(
    client: ModelArtsClient, emulator: Emulator, kind: str
) -> None:
    dataset_id = emulator.load_proposals(250)
    fault = emulator.faults.add("PUT", WRITE[1], kind, times=2)
    result = confirm(client, dataset_id)
    assert fault.fired == 2
    assert (result.confirmed, result.failed, result.gone) == (250, 0, 0)
    assert emulator.dataset(dataset_id).unconfirmed == 0


def test_a_correction_made_while_the_answer_was_lost_stays(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(20)
    sample_id = sorted(emulator.dataset(dataset_id).proposals)[3]

    def correct(call: Any) -> bool:
        emulator.dataset(dataset_id).edit(sample_id, ["corrected"])
        return True

    fault = emulator.faults.add("PUT", WRITE[1], "reset", match=correct)
    result = confirm(client, dataset_id)
    assert fault.fired == 1
    assert (result.confirmed, result.gone) == (19, 1)
    assert emulator.dataset(dataset_id).names_of(sample_id) == ["corrected"]


def test_a_busy_dataset_is_waited_for(client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock) -> None:
    dataset_id = emulator.load_proposals(150)
    fault = emulator.faults.add("PUT", WRITE[1], "status", times=6, status=400, code="ModelArts.4381")
    result = confirm(client, dataset_id)
    assert fault.fired == 6
    assert result.confirmed == 150
    assert 60 < sum(moved_clock.slept) < 600


def test_a_dataset_busy_for_ten_minutes_ends_the_run(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id = emulator.load_proposals(150)
    emulator.dataset(dataset_id).status = 6
    run = Confirmation(client, ConfirmationRequest.checked(dataset_id, concurrency=1))
    with pytest.raises(DatasetBusy, match=dataset_id):
        run.run()
    assert sum(moved_clock.slept) == pytest.approx(600, abs=5)
    result = run.result()
    assert result is not None
    assert (result.confirmed, result.failed) == (0, 0)
    assert emulator.dataset(dataset_id).unconfirmed == 150


def test_labels_older_than_30_seconds_are_read_again(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id = emulator.load_proposals(20)
    sample_id = sorted(emulator.dataset(dataset_id).proposals)[3]

    def correct(call: Any) -> bool:
        emulator.dataset(dataset_id).edit(sample_id, ["corrected"])
        return True

    emulator.faults.add(
        "PUT", WRITE[1], "status", status=429, code="APIGW.0308", headers={"Retry-After": "40"}, match=correct
    )
    result = confirm(client, dataset_id)
    assert (result.confirmed, result.gone) == (19, 1)
    assert emulator.dataset(dataset_id).names_of(sample_id) == ["corrected"]


@pytest.mark.parametrize("code", ["ModelArts.4105", "ModelArts.0104", "ModelArts.4423"])
def test_a_batch_refused_for_a_sample_is_split(client: ModelArtsClient, emulator: Emulator, code: str) -> None:
    dataset_id = emulator.load_proposals(64)
    bad = sorted(emulator.dataset(dataset_id).proposals)[20]
    emulator.faults.add(
        "PUT", WRITE[1], "status", times=None, status=400, code=code, match=lambda call: bad.encode() in call.body
    )
    result = confirm(client, dataset_id)
    assert (result.confirmed, result.failed) == (63, 1)
    assert result.failures[code].samples == (bad,)
    assert emulator.journal.count(*WRITE) <= 2 * 6 + 1


def test_counts_are_there_when_the_run_is_over_and_not_before(client: ModelArtsClient, emulator: Emulator) -> None:
    during: list[object] = []
    run = Confirmation(
        client,
        ConfirmationRequest.checked(emulator.load_proposals(150)),
        on_progress=lambda _: during.append(run.result()),
    )
    assert run.result() is None
    returned = run.run()
    assert set(during) == {None}
    result = run.result()
    assert result is not None
    assert (result.confirmed, returned.confirmed) == (150, 150)


def test_a_missing_permission_ends_the_run_without_splitting(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(250)
    emulator.faults.add("PUT", WRITE[1], "status", times=None, after=1, status=403, code="ModelArts.0108")
    run = Confirmation(client, ConfirmationRequest.checked(dataset_id, concurrency=1))
    with pytest.raises(PermissionDenied):
        run.run()
    assert emulator.journal.count(*WRITE) == 2
    result = run.result()
    assert result is not None
    assert (result.confirmed, result.left) == (50, 100)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_writes_that_never_get_an_answer_end_the_run(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, concurrency: int
) -> None:
    dataset_id = emulator.load_proposals(2000)
    emulator.faults.add("PUT", WRITE[1], "status", times=None, status=502, code="APIGW.0610")
    begun = moved_clock.now()
    run = Confirmation(client, ConfirmationRequest.checked(dataset_id, batch_size=10, concurrency=concurrency))
    with pytest.raises(ServiceUnavailable, match="Gave up"):
        run.run()
    result = run.result()
    assert result is not None
    assert (result.confirmed, result.failed + result.left) == (0, result.seen)
    assert GIVE_UP * 10 <= result.failures["unknown"].count <= (GIVE_UP + concurrency) * 10
    assert UNKNOWN_PATIENCE <= moved_clock.now() - begun < 900
    assert emulator.dataset(dataset_id).unconfirmed == 2000


@pytest.mark.parametrize("concurrency", [1, 8])
def test_batches_that_get_no_answer_do_not_keep_the_run_from_the_rest(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, concurrency: int
) -> None:
    """They lie where the walk begins; every try would end there, and what lies below would never be confirmed."""
    dataset_id = emulator.load_proposals(1000)
    dataset = emulator.dataset(dataset_id)
    poisoned = {sample.sample_id for sample in list(client.proposals.list(dataset_id, order="asc"))[500:]}
    rule = emulator.faults.add(
        "PUT",
        WRITE[1],
        "status",
        times=None,
        status=502,
        code="APIGW.0610",
        match=lambda call: not poisoned.isdisjoint(ids_in(call.body)),
    )
    begun = moved_clock.now()
    result = confirm(client, dataset_id, concurrency=concurrency)
    assert rule.fired
    assert (result.seen, result.confirmed, result.failed, result.unaccounted) == (1000, 500, 500, 0)
    assert result.failures["unknown"].count == 500
    assert set(dataset.proposals) == poisoned
    assert moved_clock.now() - begun < 1200


def test_a_clear_answer_gives_new_patience(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    """More are lost than end a run, but never so many in a row."""
    dataset_id = emulator.load_proposals(300)
    places = {sample.sample_id: place for place, sample in enumerate(client.proposals.list(dataset_id, order="asc"))}
    good = {sample_id for sample_id, place in places.items() if place // 10 % 10 == 5}

    def is_poisoned(call: Any) -> bool:
        return not any(sample_id.encode() in call.body for sample_id in good)

    emulator.faults.add("PUT", WRITE[1], "status", times=None, status=502, code="APIGW.0610", match=is_poisoned)
    result = confirm(client, dataset_id, batch_size=10, concurrency=1)
    assert (result.confirmed, result.failures["unknown"].count) == (30, 270)
    assert GIVE_UP < 270 / 10


def test_a_stop_lets_no_further_write_out(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(500)
    result = confirm(client, dataset_id, concurrency=1, should_stop=lambda: emulator.journal.count(*WRITE) >= 2)
    assert emulator.journal.count(*WRITE) == 2
    assert result.stopped
    with pytest.raises(ConfirmationError, match="stopped"):
        check(result, "warn")
    assert confirm(client, dataset_id).confirmed == 500 - result.confirmed


@pytest.mark.parametrize("trims", [False, True])
def test_a_filter_chooses_samples_and_not_labels(client: ModelArtsClient, emulator: Emulator, trims: bool) -> None:
    emulator.variants.trim_labels_to_filter = trims
    dataset_id = emulator.load_proposals(150, kind="multi_label", labels=["rose", "tulip", "weed"])
    proposed = served(emulator, dataset_id)
    wanted = {key for key, labels in proposed.items() if any(label["name"] == "tulip" for label in labels)}
    emulator.journal.clear()
    result = confirm(client, dataset_id, label_name="tulip")
    assert result.confirmed == len(wanted)
    assert {sample["sample_id"]: sample["labels"] for sample in written(emulator)} == {
        key: proposed[key] for key in wanted
    }
    singles = [r for r in emulator.journal if "/auto-annotations/samples/" in r.path]
    # A witness is looked at once; where labels are trimmed there is none, and the whole list shows them.
    assert len(singles) == (0 if trims else 1)


def test_a_score_filter_is_passed_on(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(150)
    listed = {sample.sample_id for sample in client.proposals.list(dataset_id, low_score=0.8)}
    assert 0 < len(listed) < 150
    result = confirm(client, dataset_id, low_score="0.8")
    assert {sample["sample_id"] for sample in written(emulator)} == listed
    assert result.confirmed == len(listed)


def test_a_list_that_others_shorten_is_finished_all_the_same(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(800)
    emulator.variants.shrink_list = 30
    result = confirm(client, dataset_id)
    assert emulator.dataset(dataset_id).unconfirmed == 0
    assert result.unaccounted == 0
    assert result.seen == result.confirmed + result.gone


def test_progress_is_told_now_and_then(client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock) -> None:
    dataset_id = emulator.load_proposals(500)
    told: list[Progress] = []
    emulator.faults.add("PUT", WRITE[1], "status", times=2, status=400, code="ModelArts.4381")
    confirm(client, dataset_id, on_progress=told.append, concurrency=1)
    assert [progress.seen for progress in told] == [100, 500]
    assert str(told[0]).startswith("20 %: 100 of 500 proposals: 100 confirmed")


def test_nothing_to_confirm_is_no_error(client: ModelArtsClient, emulator: Emulator) -> None:
    result = confirm(client, emulator.load_proposals(0))
    check(result)
    counts = dict.fromkeys(("seen", "confirmed", "review", "left", "failed", "gone", "changed_since_plan"), 0)
    costs = {"passes": 1, "requests": 2, "seconds": 0.0}
    assert result.to_xcom() == counts | costs | {"plan_uri": None, "ledger_uri": None, "by_label": {}}


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"policy": "None"}, InvalidPolicy),
        ({"policy": {"min_scor": 0.9}}, InvalidPolicy),
        ({"low_score": 1.5}, InvalidRequest),
        ({"low_score": 0.9, "high_score": 0.1}, InvalidRequest),
        ({"label_name": ""}, InvalidRequest),
        ({"label_name": 5}, InvalidRequest),
        ({"low_score": "0_1"}, InvalidRequest),
        ({"label_name": "None"}, InvalidRequest),
        ({"batch_size": 0}, InvalidRequest),
        ({"batch_size": "many"}, InvalidRequest),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_sent(
    client: ModelArtsClient, emulator: Emulator, parameters: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        confirm(client, "dataset", **parameters)
    assert not list(emulator.journal)


def test_an_unknown_dataset_is_named(client: ModelArtsClient) -> None:
    with pytest.raises(NotFound, match="no-such-dataset"):
        confirm(client, "no-such-dataset")
