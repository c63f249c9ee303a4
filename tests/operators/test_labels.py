"""The labels that a dataset needs: made where they are missing, never changed, never deleted (contract 6.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.client.errors import DatasetBusy, InvalidRequest
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.label_set import LabelConflict, ensure_labels
from airflow_provider_modelarts.operators.labels import ModelArtsEnsureLabelsOperator
from tests.support.operator_driver import Ending, drive

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

LABELS = "/data-annotations/labels"
CAT = {"name": "cat", "property": {"@modelarts:color": "#3399ff"}}


class LabelKeeper:
    """A dataset of digits whose labels are ensured."""

    def __init__(self, emulator: Emulator, clock: MovedClock) -> None:
        self.emulator, self.clock = emulator, clock
        self.dataset_id = emulator.load_digits(labeled=20)

    def ensure(self, labels: Any, **parameters: Any) -> Ending:
        operator = ModelArtsEnsureLabelsOperator(
            task_id="labels", **{"dataset_id": self.dataset_id, "labels": labels, **parameters}
        )
        return drive(operator, self.clock)

    @property
    def names(self) -> set[str]:
        return set(self.emulator.dataset(self.dataset_id).labels)

    @property
    def writes(self) -> int:
        return sum(self.emulator.journal.count(method, LABELS) for method in ("POST", "PUT", "DELETE"))


@pytest.fixture
def client(keeper: LabelKeeper) -> ModelArtsClient:
    return ModelArtsHook().client


@pytest.fixture
def keeper(emulator: Emulator, moved_clock: MovedClock) -> LabelKeeper:
    return LabelKeeper(emulator, moved_clock)


@pytest.mark.parametrize("form", ["list", "text"])
def test_what_is_missing_is_made_and_nothing_else(keeper: LabelKeeper, form: str) -> None:
    before = keeper.names
    labels: Any = ["7", CAT, {"name": "dog"}]
    ending = keeper.ensure(json.dumps(labels) if form == "text" else labels)
    assert ending.error is None
    assert ending.result == {"labels": 3, "created": 2, "existing": 1, "created_labels": ["cat", "dog"]}
    assert keeper.names == before | {"cat", "dog"}
    assert keeper.emulator.dataset(keeper.dataset_id).labels["cat"]["property"]["@modelarts:color"] == "#3399ff"


def test_it_may_run_again(keeper: LabelKeeper) -> None:
    keeper.ensure([CAT])
    again = keeper.ensure([CAT, "7"])
    assert again.result == {"labels": 2, "created": 0, "existing": 2, "created_labels": []}
    assert keeper.writes == 1


def test_names_of_digits_may_come_as_numbers(keeper: LabelKeeper) -> None:
    assert keeper.ensure([7, {"name": 12}]).result["created_labels"] == ["12"]


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        ({"name": "cat", "property": {"@modelarts:color": "#000000"}}, "color is '#3399ff', not '#000000'"),
        ({"name": "cat", "type": 1}, "type is 0, not 1"),
        ({"name": "cat", "attributes": [{"name": "age", "type": "text"}]}, "attributes has 0 elements, not 1"),
    ],
)
def test_a_label_with_other_settings_is_an_error_and_no_label_is_made(
    keeper: LabelKeeper, wanted: dict[str, Any], difference: str
) -> None:
    keeper.ensure([CAT])
    ending = keeper.ensure(["dog", wanted])
    assert type(ending.error) is AirflowFailException
    assert "'cat'" in str(ending.error)
    assert difference in str(ending.error)
    assert "dog" not in keeper.names
    assert keeper.emulator.dataset(keeper.dataset_id).labels["cat"]["property"]["@modelarts:color"] == "#3399ff"


def test_only_what_is_given_is_compared(keeper: LabelKeeper) -> None:
    keeper.ensure([{**CAT, "attributes": [{"name": "age", "type": "text"}]}])
    same = {"name": "cat", "type": 0, "property": {"@modelarts:color": "#3399FF"}}
    assert keeper.ensure(["cat"]).result["existing"] == 1
    assert keeper.ensure([same]).result["existing"] == 1
    assert keeper.ensure([{"name": "cat", "attributes": [{"name": "age"}]}]).result["existing"] == 1


@pytest.mark.parametrize("fault", ["reset_after", "truncated"])
def test_after_a_lost_reply_the_labels_are_listed_and_not_sent_again(keeper: LabelKeeper, fault: str) -> None:
    keeper.emulator.faults.add("POST", LABELS, fault)
    ending = keeper.ensure(["cat", "dog"])
    assert keeper.emulator.faults.fired
    assert ending.error is None
    assert ending.result["created_labels"] == ["cat", "dog"]
    assert keeper.writes == 1


def when_listed_first(client: ModelArtsClient, monkeypatch: pytest.MonkeyPatch, label: Any) -> None:
    """Let somebody make a label when the labels have been listed for the first time."""
    list_labels, create = client.labels.list, client.labels.create

    def listed(dataset_id: str) -> Any:
        found = list(list_labels(dataset_id))
        monkeypatch.setattr(client.labels, "list", list_labels)
        create(dataset_id, [label])
        return found

    monkeypatch.setattr(client.labels, "list", listed)


def test_a_label_that_somebody_makes_at_the_same_time_is_no_error(
    keeper: LabelKeeper, client: ModelArtsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    when_listed_first(client, monkeypatch, {"name": "cat"})
    assert ensure_labels(client, keeper.dataset_id, ["cat", "dog"]).labels == 2
    assert keeper.writes == 2
    assert {"cat", "dog"} <= keeper.names


def test_a_label_that_somebody_makes_otherwise_at_the_same_time_is_a_conflict(
    keeper: LabelKeeper, client: ModelArtsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    when_listed_first(client, monkeypatch, {**CAT, "property": {"@modelarts:color": "#000000"}})
    with pytest.raises(LabelConflict, match="'#000000', not '#3399ff'"):
        ensure_labels(client, keeper.dataset_id, [CAT])
    assert keeper.writes == 2


def test_a_dataset_that_is_publishing_is_worth_a_retry(keeper: LabelKeeper) -> None:
    keeper.emulator.dataset(keeper.dataset_id).status = 6
    ending = keeper.ensure(["cat"])
    assert isinstance(ending.error, DatasetBusy)
    assert "cat" not in keeper.names


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([], "at least one label"),
        (None, "at least one label"),
        ("cat", "at least one label"),
        ([None], "labels"),
        ([{"name": "cat"}, "cat"], "2 times"),
        ([{"name": " "}], "name"),
        ([{"nam": "cat"}], "name"),
        ([{"property": {}}], "no name"),
        ([{"name": "cat", "property": {"@modelarts:rename_to": "dog"}}], "rename"),
        ([{"name": "cat", "property": {"@modelarts:color": "blue"}}], "#rrggbb"),
        ([{"name": "c" * 1025}], "1024"),
    ],
)
def test_wrong_labels_are_found_when_the_dag_is_parsed(labels: Any, complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        ModelArtsEnsureLabelsOperator(task_id="labels", dataset_id="d", labels=labels)


@pytest.mark.parametrize("rendered", ["", "None", None, "{{ left }}"])
def test_a_template_that_gave_nothing_is_refused(keeper: LabelKeeper, rendered: Any) -> None:
    operator = ModelArtsEnsureLabelsOperator(task_id="labels", dataset_id=keeper.dataset_id, labels="{{ params.x }}")
    operator._record_places(operator.template_fields)
    operator.labels = rendered
    ending = drive(operator, keeper.clock)
    assert type(ending.error) is AirflowFailException
    assert "labels" in str(ending.error)
    assert len(keeper.emulator.journal) == 0
