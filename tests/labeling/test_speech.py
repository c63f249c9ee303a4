"""Labels of speech have no name: they are confirmed and reverted as they are, or left alone, and never lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.sample_rows import row_of
from airflow_provider_modelarts.labeling.apply.confirmation import LedgerTarget, confirm
from airflow_provider_modelarts.labeling.label_equality import has_labels_of
from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.policy import decide_rows_by, parse_policy
from airflow_provider_modelarts.labeling.undo.reverter import revert
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

CONTENT, START, END = "@modelarts:content", "@modelarts:start_time", "@modelarts:end_time"
SAID = {"type": 201, "score": 0.9, "property": {CONTENT: "Good morning.", "@modelarts:source": "Ann"}}
SEGMENT = {"type": 202, "score": 0.9, "property": {START: "00:00:00.000", END: "00:00:01.000"}}
IDENTITY = RunIdentity("dag", "run", "task")


def decision(policy: dict[str, Any] | None, *labels: dict[str, Any], **filters: Any) -> tuple[str, str]:
    decide = decide_rows_by(parse_policy(policy), filters)
    ((action, rule),) = decide([row_of(Sample({"sample_id": "s", "labels": list(labels)}))])
    return action, rule


@pytest.mark.parametrize(
    ("policy", "labels", "expected"),
    [
        (None, [SAID], ("confirm", "no_policy")),
        (None, [SEGMENT, {**SEGMENT, "name": "speech"}], ("confirm", "no_policy")),
        (None, [{**SAID, "name": ""}], ("confirm", "no_policy")),
        (None, [{**SAID, "name": " \u2028"}], ("confirm", "no_policy")),
        ({"min_score": 0.9}, [SAID], ("confirm", "passed")),
        ({"min_score": 0.95}, [SAID], ("review", "score_too_low")),
        ({"min_score": 0.5}, [{**SAID, "score": None}], ("review", "score_unknown")),
        # A policy that names labels does not mean those that have no name.
        ({"labels": ["speech"]}, [SAID], ("leave", "label_not_allowed")),
        ({"labels": ["speech"]}, [{**SEGMENT, "name": "speech"}, SEGMENT], ("leave", "label_not_allowed")),
        # What could not be written is left alone.
        (None, [SAID, {"type": 0}], ("leave", "no_labels")),
        (None, [SAID, {"type": 0, "name": "\u2028"}], ("leave", "no_labels")),
        (None, [{"type": 0, "name": " "}], ("leave", "no_labels")),
        (None, [{**SAID, "type": 0}], ("leave", "no_labels")),
        (None, [{**SAID, "type": None}], ("leave", "no_labels")),
        (None, [{**SAID, "property": {}}], ("leave", "no_labels")),
        (None, [{**SAID, "property": {CONTENT: " "}}], ("leave", "no_labels")),
        (None, [{**SAID, "property": {START: "00:00:00.000"}}], ("leave", "no_labels")),
    ],
)
def test_what_becomes_of_speech(
    policy: dict[str, Any] | None, labels: list[dict[str, Any]], expected: tuple[str, str]
) -> None:
    assert decision(policy, *labels) == expected
    # Whatever is confirmed can be written: the client builds the request, and refuses what says nothing.
    if expected[0] == "confirm":
        assert row_of(Sample({"sample_id": "s", "labels": labels})).element()


def speech(emulator: Emulator) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    """Return a dataset of speech with ten proposals, of which two say nothing, and the labels before by sample."""
    dataset_id = emulator.load_samples(201, 10, labeled=3)
    dataset = emulator.dataset(dataset_id)
    before = {sample_id: dataset.labels_of(sample_id) for sample_id in dataset.samples}
    dataset.propose(
        [
            {
                "sample_id": sample_id,
                "labels": [{**SAID, "property": {CONTENT: "" if number > 7 else f"Text {number}."}}],
                "annotated_by": "human/emulator/owner" if before[sample_id] else "",
            }
            for number, sample_id in enumerate(before)
        ]
    )
    return dataset_id, before


def test_speech_is_planned_confirmed_and_reverted(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id, before = speech(emulator)
    dataset = emulator.dataset(dataset_id)
    bucket = Bucket()
    policy = {"min_score": 0.5, "max_share_per_label": 0.5, "max_samples": 20}
    made = make_plan(client, dataset_id, bucket / "plan.jsonl", policy=policy)
    assert (made.result.seen, made.result.confirmed, made.result.left) == (10, 8, 2)
    assert "**10 proposals**" in made.summary.markdown()
    result = confirm(client, dataset_id, policy=policy, ledger=LedgerTarget(bucket, IDENTITY))
    assert (result.confirmed, result.left, result.failed, result.by_label) == (8, 2, 0, {})
    ids = list(before)
    assert [dataset.labels_of(one)[0]["property"] for one in ids[:8]] == [{CONTENT: f"Text {n}."} for n in range(8)]
    assert [dataset.labels_of(one) for one in ids[8:]] == [[], []]
    assert set(dataset.proposals) == set(ids[8:]), "what says nothing waits on"
    undone = revert(client, bucket, "run")
    assert (undone.restored, undone.cleared, undone.failed) == (3, 5, 0)
    assert {sample_id: dataset.labels_of(sample_id) for sample_id in ids} == before


def test_what_a_person_has_heard_stays(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id, before = speech(emulator)
    dataset = emulator.dataset(dataset_id)
    bucket = Bucket()
    confirm(client, dataset_id, ledger=LedgerTarget(bucket, IDENTITY))
    corrected = next(iter(before))
    heard = {"type": 201, "property": {CONTENT: "Text 0!"}}
    dataset.edit(corrected, [heard])
    undone = revert(client, bucket, "run")
    assert (undone.restored, undone.cleared) == (2, 5)
    assert dataset.labels_of(corrected) == [heard]


def test_an_empty_name_is_none() -> None:
    one, other = (Sample({"sample_id": "s", "labels": [label]}) for label in ({**SAID, "name": ""}, SAID))
    assert has_labels_of(one, other)
    assert has_labels_of(other, one)
    assert not has_labels_of(Sample({"sample_id": "s", "labels": [{**SAID, "name": "said"}]}), one)
