"""Samples that are not as the API documents them: each is one failed sample, and costs no other (B10, B16)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.client.sample_rows import row_of
from airflow_provider_modelarts.labeling.apply.confirmation import LedgerTarget, confirm
from airflow_provider_modelarts.labeling.label_equality import has_labels_of, same_proposal
from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.labeling.results import check
from airflow_provider_modelarts.labeling.undo.reverter import revert
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

ROSE = {"name": "rose", "type": 0, "score": 0.9}
ODD: dict[str, tuple[Any, str]] = {
    "a label that is null": ({"labels": [None, ROSE]}, "Label 1 is null"),
    "a label that is a text": ({"labels": [ROSE, "rose"]}, "Label 2 is a text"),
    "a label that is a list": ({"labels": [[ROSE]]}, "Label 1 is a list"),
    "labels that are an object": ({"labels": ROSE}, "Its labels are an object"),
    "labels that are an empty object": ({"labels": {}}, "Its labels are an object"),
    "labels that are a text": ({"labels": "rose"}, "Its labels are a text"),
    "labels that are a number": ({"labels": 3}, "Its labels are a number"),
    "a name that is an object": ({"labels": [{**ROSE, "name": {"en": "rose"}}]}, "The name of label 1 is an object"),
    "a score that is an object": ({"labels": [{**ROSE, "score": {"v": 1}}]}, "The score of label 1 is an object"),
    "a sample's score that is a list": ({"labels": [ROSE], "score": [1]}, "Its score is a list"),
    "a sample that is null": (None, "came without an id"),
    "a sample that is a text": ("odd", "came without an id"),
    "a sample without an id": ({"sample_id": None, "labels": [ROSE]}, "came without an id"),
    "an id that is an object": ({"sample_id": {"$oid": "1"}, "labels": [ROSE]}, "came without an id"),
}
POLICIES = [None, {"min_score": 0.5}, {"min_score": 0.5, "max_samples": 1000, "hard_examples": "confirm"}]
pytestmark = pytest.mark.wrong_answers
IDENTITY = RunIdentity("dag", "run", "task")


def propose(emulator: Emulator, odd: Any, copies: int = 1) -> str:
    """Return a dataset with four proposals, after the second of which odd ones stand."""
    dataset_id = emulator.load_proposals(0)
    good = [{"sample_id": f"good {number}", "labels": [ROSE]} for number in range(4)]
    emulator.dataset(dataset_id).propose(good)
    book = emulator.dataset(dataset_id)._dataset.proposals
    rows = [(proposal.sample_id, proposal.fragment) for proposal in book]
    odd_rows = []
    for number in range(copies):
        raw = {"sample_id": f"odd {number}", **odd} if isinstance(odd, dict) else odd
        odd_rows.append((f"odd {number}", json.dumps(raw).encode()))
        emulator.dataset(dataset_id).propose([{"sample_id": f"odd {number}"}])
    book.replace(rows[:2] + odd_rows + rows[2:])
    return dataset_id


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("copies", [1, 3])
def test_an_odd_sample_is_a_failed_sample_everywhere(
    client: ModelArtsClient, emulator: Emulator, caplog: pytest.LogCaptureFixture, odd: str, policy: Any, copies: int
) -> None:
    raw, reason = ODD[odd]
    dataset_id = propose(emulator, raw, copies)
    bucket = Bucket()
    made = make_plan(client, dataset_id, bucket / "plan.jsonl", policy=policy)
    assert (made.result.seen, made.result.confirmed, made.result.failed) == (4 + copies, 4, copies)
    assert made.result.failures["odd_sample"].count == copies
    assert reason in caplog.text
    assert "not as the API documents it" in made.summary.markdown() or "came without an id" in made.summary.markdown()
    assert read_plan(bucket / "plan.jsonl").result().failed == copies

    for parameters in ({"policy": policy}, {"plan": made.plan}):
        preview = confirm(client, dataset_id, preview=True, **parameters)
        assert (preview.seen, preview.confirmed, preview.failed) == (4 + copies, 4, copies)
        assert preview.unaccounted == 0
    place = LedgerTarget(bucket, IDENTITY)
    result = confirm(client, dataset_id, policy=policy, ledger=place)
    assert (result.seen, result.confirmed, result.failed, result.unaccounted) == (4 + copies, 4, copies, 0)
    with pytest.raises(ConfirmationError, match=f"odd_sample: .*{reason}"):
        check(result)
    assert emulator.dataset(dataset_id).unconfirmed == copies
    assert not any(b"odd" in record.body for record in emulator.journal if record.method == "PUT")

    again = confirm(client, dataset_id, policy=policy, ledger=place)
    assert (again.confirmed, again.failed, again.unaccounted) == (4, copies, 0)
    undone = revert(client, bucket, "run")
    assert (undone.cleared, undone.failed) == (4, 0)


@pytest.mark.parametrize("odd", ODD)
def test_without_a_plan_it_is_the_same(client: ModelArtsClient, emulator: Emulator, odd: str) -> None:
    raw, reason = ODD[odd]
    dataset_id = propose(emulator, raw)
    result = confirm(client, dataset_id)
    assert (result.seen, result.confirmed, result.failed, result.unaccounted) == (5, 4, 1, 0)
    assert reason in result.failures["odd_sample"].message


@pytest.mark.parametrize("labels", [None, "rose", "", {"name": "rose"}, {}, 0, 3, False, [], [3]])
@pytest.mark.parametrize("score", [0.9, [1]])
def test_the_labels_of_a_line_are_a_list(client: ModelArtsClient, emulator: Emulator, labels: Any, score: Any) -> None:
    dataset_id = propose(emulator, {"labels": labels, "score": score})
    bucket = Bucket()
    make_plan(client, dataset_id, bucket / "plan.jsonl")
    lines = map(json.loads, (bucket / "plan.jsonl").open("rb").read().splitlines()[1:-1])
    wanted = labels if isinstance(labels, list) else [[labels]] if labels else []
    assert [line["labels"] for line in lines if line["sample_id"] == "odd 0"] == [wanted]


@pytest.mark.parametrize("trims", [False, True])
@pytest.mark.parametrize("filters", [{"label_name": "rose"}, {"first_label": "rose"}, {"low_score": 0.5}], ids=str)
@pytest.mark.parametrize("way", ["at once", "by a plan", "preview"])
def test_a_sample_without_an_id_costs_no_other_where_a_filter_is_set(
    client: ModelArtsClient, emulator: Emulator, filters: dict[str, Any], way: str, trims: bool
) -> None:
    emulator.variants.trim_labels_to_filter = trims
    dataset_id = propose(
        emulator, {"sample_id": None, "labels": [ROSE, {"name": "tulip", "score": 0.1}], "metadata": {}}
    )
    bucket = Bucket()
    parameters = {"at once": {}, "preview": {"preview": True}, "by a plan": {"plan": bucket / "plan.jsonl"}}
    result = confirm(client, dataset_id, **filters, **parameters[way])
    assert (result.seen, result.confirmed, result.failed, result.unaccounted) == (5, 4, 1, 0)


@pytest.mark.parametrize("odd", [name for name in ODD if isinstance(ODD[name][0], dict) and "id" not in name])
def test_a_planned_sample_that_has_become_odd_fails(client: ModelArtsClient, emulator: Emulator, odd: str) -> None:
    raw, _ = ODD[odd]
    dataset_id = propose(emulator, {"labels": [ROSE]})
    bucket = Bucket()
    plan = make_plan(client, dataset_id, bucket / "plan.jsonl").plan
    assert plan.counts["confirm"] == 5
    emulator.dataset(dataset_id).propose([{"sample_id": "odd 0", **raw}])
    result = confirm(client, dataset_id, plan=plan, ledger=LedgerTarget(bucket, IDENTITY))
    assert (result.seen, result.confirmed, result.failed, result.unaccounted) == (5, 4, 1, 0)
    assert all(isinstance(entry.after, list) for _, entry in read_ledger(bucket, "run").entries())
    assert revert(client, bucket, "run").cleared == 4


@pytest.mark.parametrize("labels", [[None], [None, ROSE], "rose", {"name": "rose"}, 3])
def test_an_undo_leaves_an_odd_sample_and_takes_the_others_back(
    client: ModelArtsClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, labels: Any
) -> None:
    dataset_id = propose(emulator, {"labels": [ROSE]})
    bucket = Bucket()
    confirm(client, dataset_id, ledger=LedgerTarget(bucket, IDENTITY))
    read = client.samples.get

    def odd(dataset_id: str, sample_id: str, **more: Any) -> Sample:
        sample = read(dataset_id, sample_id, **more)
        return Sample({**sample.raw, "labels": labels}) if sample_id == "odd 0" else sample

    monkeypatch.setattr(client.samples, "get", odd)
    for _ in range(2):
        undone = revert(client, bucket, "run")
        assert undone.failed == 1
        assert undone.failures["odd_sample"].samples == ("odd 0",)
    assert emulator.dataset(dataset_id).names_of("odd 0") == ["rose"]
    assert emulator.dataset(dataset_id).names_of("good 0") == []


def test_odd_labels_are_never_taken_for_others() -> None:
    whole = Sample({"sample_id": "s", "labels": [ROSE]})
    for labels in ([None, ROSE], [ROSE, "x"], "rose", 3, ROSE):
        odd = Sample({"sample_id": "s", "labels": labels})
        assert odd.oddity
        assert not same_proposal(row_of(whole), row_of(odd))
        assert not has_labels_of(odd, whole)
        assert not has_labels_of(whole, odd)
    for raw in ({"labels": [ROSE]}, {}, {"labels": None}, {"labels": []}, {"labels": [{"type": 201, "score": "0.5"}]}):
        assert Sample({"sample_id": "s", **raw}).oddity is None
