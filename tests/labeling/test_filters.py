"""Plans and confirmations choose by all that the list can filter (contract 3.1); labels stay whole (B13)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.labeling.apply.confirmation import confirm
from airflow_provider_modelarts.labeling.apply.request import ConfirmationRequest
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.plan.lines import PlanRefused
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

HARD = {"hard": "1"}
ONE_OF_TWO = {"op": "OR", "labels": [{"name": "no such"}, {"name": None}]}
LIST = "/auto-annotations/samples"


def hard_ones(emulator: Emulator, dataset_id: str) -> dict[str, Any]:
    proposals = emulator.dataset(dataset_id).proposals
    return {key: raw["labels"] for key, raw in proposals.items() if raw["metadata"].get("@modelarts:hard")}


def triplets(emulator: Emulator, count: int = 30) -> str:
    """A dataset whose samples have an entity each, and every second one a relation too."""
    dataset_id = emulator.load_proposals(1, labels=["person", "knows"])
    (template,) = emulator.dataset(dataset_id).proposals.values()
    entity = {**template["labels"][0], "name": "person", "type": 103}
    relation = {**template["labels"][0], "name": "knows", "type": 102, "id": "2"}
    documents = [
        {**template, "sample_id": f"{number:032x}", "labels": [entity, relation] if number % 2 else [entity]}
        for number in range(count)
    ]
    emulator.dataset(dataset_id).propose(documents, keep=False)
    return dataset_id


@pytest.mark.parametrize("count", [12, 250])
@pytest.mark.parametrize("conditions", [HARD, [HARD], json.dumps(HARD), json.dumps([HARD])], ids=str)
def test_only_what_meets_the_conditions_is_confirmed_and_with_all_labels(
    client: ModelArtsClient, emulator: Emulator, conditions: Any, count: int
) -> None:
    dataset_id = emulator.load_proposals(count, kind="multi_label", hard_share=0.3)
    wanted = hard_ones(emulator, dataset_id)
    result = confirm(client, dataset_id, search_conditions=conditions)
    assert (result.seen, result.confirmed, result.unaccounted) == (len(wanted), len(wanted), 0)
    dataset = emulator.dataset(dataset_id)
    assert dataset.unconfirmed == count - len(wanted)
    for key, labels in wanted.items():
        assert dataset.names_of(key) == [label["name"] for label in labels]


def test_a_sample_that_cannot_be_read_whole_fails_alone(client: ModelArtsClient, emulator: Emulator) -> None:
    """Its list may leave labels out, so it is not written; all others are planned and confirmed."""
    dataset_id = emulator.load_proposals(1000, kind="multi_label", hard_share=0.005)
    filters = {"search_conditions": HARD}
    path = Bucket() / "plan.jsonl"
    chosen = make_plan(client, dataset_id, path, filters=filters).result.confirmed
    odd = next(one.sample.sample_id for one in read_plan(path).samples())
    strange = json.dumps({"sample_id": odd, "labels": [None]})
    emulator.faults.add("GET", f"{LIST}/{odd}", "status", times=None, status=200, body=strange)
    made = make_plan(client, dataset_id, path, filters=filters)
    assert chosen > 1
    assert (made.result.confirmed, made.result.failed) == (chosen - 1, 1)
    assert odd in str(made.result.failures["odd_sample"])
    assert confirm(client, dataset_id, plan=path).confirmed == chosen - 1
    assert not emulator.dataset(dataset_id).labels_of(odd)


@pytest.mark.parametrize("trims", [False, True])
def test_labels_chosen_by_their_type_are_written_with_all_others(
    client: ModelArtsClient, emulator: Emulator, trims: bool
) -> None:
    emulator.variants.trim_labels_to_filter = trims
    dataset_id = triplets(emulator)
    result = confirm(client, dataset_id, label_type="102")
    assert (result.confirmed, result.unaccounted) == (15, 0)
    dataset = emulator.dataset(dataset_id)
    written = [dataset.names_of(key) for key in dataset.samples if dataset.names_of(key)]
    assert written == [["person", "knows"]] * 15


def test_conditions_prove_nothing_so_labels_are_read_whole(client: ModelArtsClient, emulator: Emulator) -> None:
    """The service shows other labels beside those that match one filter; a condition may trim nevertheless."""
    emulator.variants.trim_labels_to_filter = False
    dataset_id = emulator.load_proposals(120, kind="multi_label", labels=["rose", "tulip"], hard_share=0.3)
    emulator.journal.clear()
    confirm(client, dataset_id, label_name="rose", search_conditions=HARD)
    lists = [record for record in emulator.journal if record.method == "GET" and record.path.endswith(LIST)]
    singles = [record for record in emulator.journal if LIST + "/" in record.path]
    whole = [record for record in lists if "search_conditions" not in record.query]
    assert whole or len(singles) > 1


def test_a_plan_keeps_its_filters_and_is_applied_by_them(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(150, kind="multi_label", hard_share=0.3)
    wanted = hard_ones(emulator, dataset_id)
    path = Bucket() / "plan.jsonl"
    request = ConfirmationRequest.checked(dataset_id, search_conditions=json.dumps(HARD), label_type="0")
    made = make_plan(client, path=path, **request.plan_terms)
    assert made.result.seen == len(wanted)
    assert dict(read_plan(path).header.filters) == {"search_conditions": [HARD], "label_type": 0}
    result = confirm(client, dataset_id, plan=path)
    assert (result.seen, result.confirmed, result.unaccounted) == (len(wanted), len(wanted), 0)


@pytest.mark.parametrize(
    "other", [{"search_conditions": {"hard": "0"}}, {"label_type": 0}, {"search_conditions": HARD, "label_type": 0}]
)
def test_a_plan_for_other_filters_is_refused(
    client: ModelArtsClient, emulator: Emulator, other: dict[str, Any]
) -> None:
    dataset_id = emulator.load_proposals(30, hard_share=0.3)
    path = Bucket() / "plan.jsonl"
    make_plan(client, dataset_id, path, filters={"search_conditions": HARD})
    with pytest.raises(PlanRefused, match="another filters"):
        confirm(client, dataset_id, plan=path, **other)
    assert emulator.dataset(dataset_id).unconfirmed == 30
    assert confirm(client, dataset_id, plan=path, search_conditions=[HARD]).confirmed


def test_a_plan_whose_samples_do_not_meet_the_condition_any_more_is_applied_all_the_same(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    """ "day" means another day tomorrow: what was planned and is still proposed is confirmed nevertheless."""
    dataset_id = emulator.load_proposals(40)
    path = Bucket() / "plan.jsonl"
    made = make_plan(client, dataset_id, path, filters={"search_conditions": [{"sample_time": "day"}]})
    assert made.result.confirmed == 40
    emulator.clock.advance(3 * 86400)
    result = confirm(client, dataset_id, plan=path)
    assert (result.seen, result.confirmed, result.unaccounted) == (40, 40, 0)
    assert emulator.dataset(dataset_id).unconfirmed == 0


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"search_conditions": []}, "no condition"),
        ({"search_conditions": {}}, r"search_conditions\[0\] says nothing"),
        ({"search_conditions": [HARD, {"hard": None}]}, r"search_conditions\[1\].hard says nothing"),
        ({"search_conditions": {**HARD, "sample_name": None}}, r"\[0\].sample_name says nothing"),
        ({"search_conditions": {**HARD, "sample_name": " "}}, r"\[0\].sample_name says nothing"),
        ({"search_conditions": {**HARD, "metadata": {"props": {}}}}, r"\[0\].metadata.props says nothing"),
        ({"search_conditions": {**HARD, "label_list": {"op": "AND", "labels": []}}}, r"label_list.labels says nothing"),
        ({"search_conditions": {"label_list": ONE_OF_TWO}}, r"\[0\].label_list.labels\[1\].name says nothing"),
        ({"search_conditions": json.dumps({"label_list": ONE_OF_TWO})}, r"labels\[1\].name says nothing"),
        ({"search_conditions": {"label_list": {**ONE_OF_TWO, "labels": '[{"name": "a"}, {}]'}}}, r"\[1\] says nothing"),
        ({"search_conditions": {"label_list": {"labels": [{"name": "a", "property": {}}]}}}, "property says nothing"),
        ({"search_conditions": {"sample_dir": "/"}}, r"\[0\].sample_dir says nothing"),
        ({"search_conditions": {"sample_name": ""}}, "says nothing"),
        ({"search_conditions": {"label_list": {"labels": [], "op": "OR"}}}, "says nothing"),
        ({"search_conditions": {"hart": "1"}}, "hard"),
        ({"search_conditions": {"hard": "2"}}, r"search_conditions\[0\].hard"),
        ({"search_conditions": "today"}, "no JSON"),
        ({"search_conditions": {"sample_time": "20260101-20260401"}}, "30 days"),
        ({"label_type": 7}, "label_type must be a type of labels"),
        ({"label_type": "cat"}, "label_type"),
        ({"label_type": True}, "label_type"),
    ],
)
def test_filters_that_choose_nothing_certain_are_refused(
    client: ModelArtsClient, emulator: Emulator, given: dict[str, Any], complaint: str
) -> None:
    dataset_id = emulator.load_proposals(5)
    for attempt in (
        lambda: confirm(client, dataset_id, **given),
        lambda: make_plan(client, dataset_id, Bucket() / "plan.jsonl", filters=given),
    ):
        with pytest.raises(InvalidRequest, match=complaint):
            attempt()
    assert len(emulator.journal) == 0


def test_attributes_whatever_their_value_are_a_condition(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(5)
    conditions = {"label_list": {"labels": [{"name": "no such", "property": {"color": None}}]}}
    assert confirm(client, dataset_id, search_conditions=conditions).seen == 0
