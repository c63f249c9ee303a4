"""Labels: create, change, delete. Contract 6.2."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import LabelType
from airflow_provider_modelarts.client.errors import DatasetBusy, InvalidRequest, NotFound, UnexpectedResponse
from airflow_provider_modelarts.client.requests.labels import LabelBody, LabelPropertyBody

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator


@pytest.fixture
def digits(emulator: Emulator) -> str:
    return emulator.load_digits()


def names(client: ModelArtsClient, dataset_id: str) -> list[str]:
    return [label.name for label in client.labels.list(dataset_id)]


def test_labels_are_created_changed_and_deleted(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    blue = LabelPropertyBody(color="#3399ff", shortcut="q")
    made = client.labels.create(digits, [LabelBody(name="eleven", property=blue), {"name": "twelve", "type": "0"}])
    assert [(one.name, one.ok) for one in made] == [("eleven", True), ("twelve", True)]
    assert json.loads(emulator.journal.select("POST", "/labels")[-1].body) == {
        "labels": [
            {"name": "eleven", "property": {"@modelarts:color": "#3399ff", "@modelarts:shortcut": "q"}},
            {"name": "twelve", "type": 0},
        ]
    }
    label = next(one for one in client.labels.list(digits) if one.name == "eleven")
    assert (label.color, label.shortcut, label.type) == ("#3399ff", "q", LabelType.IMAGE_CLASSIFICATION)
    client.labels.update(digits, [{"name": "eleven", "property": {"rename_to": "thirteen"}}])
    client.labels.update_one(digits, "twelve", {"@modelarts:rename_to": "dozen / twelve"}, label_type=0)
    assert names(client, digits)[10:] == ["thirteen", "dozen / twelve"]
    client.labels.delete(digits, ["thirteen"])
    assert names(client, digits) == [*"0123456789", "dozen / twelve"]


def test_each_label_fails_for_itself(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    emulator.variants.results = "normal"
    made = client.labels.create(digits, [{"name": "3"}, {"name": "eleven"}])
    assert [(one.ok, one.error_code) for one in made] == [(False, "ModelArts.4411"), (True, None)]
    changed = client.labels.update(digits, [{"name": "eleven"}, {"name": "x"}])
    assert [(one.ok, one.error_code) for one in changed] == [(True, None), (False, "ModelArts.4410")]
    deleted = client.labels.delete(digits, ["x", "eleven"])
    assert [(one.ok, one.error_code) for one in deleted] == [(False, "ModelArts.4410"), (True, None)]


def test_only_labels_are_deleted_unless_samples_are_named(
    client: ModelArtsClient, emulator: Emulator, digits: str
) -> None:
    client.labels.delete(digits, ["3"])
    assert emulator.journal.select("POST", "/labels/delete")[-1].query == {"delete_policy": "0"}
    assert len(emulator.dataset(digits).samples) == 1797
    client.labels.delete(digits, ["4"], delete_policy=1)
    assert len(emulator.dataset(digits).samples) == 1782
    client.labels.delete_with_samples(digits, "5", label_type=0)
    assert emulator.journal.select("DELETE")[-1].query == {"delete_source": "false", "label_type": "0"}
    assert len(emulator.dataset(digits).samples) == 1767
    with pytest.raises(NotFound):
        client.labels.delete_with_samples(digits, "5")
    with pytest.raises(NotFound):
        client.labels.update_one(digits, "5", {"color": "#ffffff"})


def test_a_label_is_deleted_with_its_samples_once(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    emulator.faults.add("DELETE", "/labels/3", "reset_after")
    with pytest.raises(Exception, match="List the labels of the dataset"):
        client.labels.delete_with_samples(digits, "3")
    assert emulator.journal.count("DELETE") == 1


@pytest.mark.parametrize("kind", ["reset_after", "truncated"])
def test_after_a_lost_answer_nothing_is_known(
    client: ModelArtsClient, emulator: Emulator, digits: str, kind: str
) -> None:
    emulator.faults.add("POST", "/labels", kind)
    made = client.labels.create(digits, [{"name": "eleven"}])
    assert [one.ok for one in made] == [None]
    assert emulator.journal.count("POST", "/labels") == 1
    assert "eleven" in names(client, digits)


def test_labels_stand_still_while_a_version_is_published(
    client: ModelArtsClient, emulator: Emulator, digits: str
) -> None:
    emulator.clock.freeze()
    client.versions.create(digits)
    with pytest.raises(DatasetBusy):
        client.labels.create(digits, [{"name": "eleven"}])
    with pytest.raises(DatasetBusy):
        client.labels.delete_with_samples(digits, "3")
    emulator.clock.advance(emulator.job_seconds)
    assert client.labels.create(digits, [{"name": "eleven"}])[0].ok


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "labels"),
        ([], "labels is empty"),
        ("eleven", "labels must be a list"),
        ([{"name": "a"}, {"name": "a"}], "2 times"),
        ([{"type": 0}], "no name in element 0"),
        ([{"name": ""}], r"labels\[0\].name must have at least 1"),
        ([{"name": "x" * 1025}], r"labels\[0\].name must have at most 1024"),
        ([{"name": "a", "type": 400}], r"labels\[0\].type must be one of"),
        ([{"name": "a", "colour": "red"}], r"labels\[0\].colour is unknown"),
        ([{"name": "a", "property": {"color": "red"}}], r"must be a color as #rrggbb, or empty, not 'red'"),
        ([{"name": "a", "attributes": [{"name": "x" * 65}]}], r"attributes\[0\].name must have at most 64"),
    ],
)
def test_wrong_labels_are_not_sent(
    client: ModelArtsClient, emulator: Emulator, digits: str, labels: Any, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        client.labels.create(digits, labels)
    assert emulator.journal.count("POST", "/labels") == 0


@pytest.mark.parametrize("wrong", [None, "3", [], [""], ["3", "3"], [None]])
def test_wrong_names_are_not_sent(client: ModelArtsClient, emulator: Emulator, digits: str, wrong: Any) -> None:
    with pytest.raises(InvalidRequest):
        client.labels.delete(digits, wrong)
    with pytest.raises(InvalidRequest, match="delete_policy"):
        client.labels.delete(digits, ["3"], delete_policy=3)
    with pytest.raises(InvalidRequest, match="delete_source"):
        client.labels.delete_with_samples(digits, "3", delete_source="yes")  # type: ignore[arg-type]
    assert emulator.journal.count("POST", "/labels") + emulator.journal.count("DELETE") == 0


def test_labels_are_listed_in_pages_and_of_versions(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    version_id = client.versions.create(digits)
    emulator.clock.advance(emulator.job_seconds)
    client.labels.create(digits, [{"name": "eleven"}])
    assert len(list(client.labels.list(digits, limit=4))) == 11
    assert len(list(client.labels.list(digits, version_id=version_id))) == 10
    with pytest.raises(InvalidRequest, match="limit"):
        client.labels.list(digits, limit=0)


SAID_NO = '{"success": false, "error_msg": "not today"}'


def test_a_refusal_without_a_code_is_none_the_less_one(
    client: ModelArtsClient, emulator: Emulator, digits: str
) -> None:
    emulator.faults.add("PUT", "/labels/3", "status", status=200, body=SAID_NO)
    with pytest.raises(UnexpectedResponse, match="not today"):
        client.labels.update_one(digits, "3", {"color": "#ffffff"})
    emulator.faults.add("DELETE", "/labels/3", "status", status=200, body=SAID_NO)
    with pytest.raises(UnexpectedResponse, match="not today"):
        client.labels.delete_with_samples(digits, "3")
    emulator.faults.add("POST", "/sync-data", "status", status=200, body=SAID_NO)
    with pytest.raises(UnexpectedResponse, match="not today"):
        client.sync.start(digits)
    emulator.faults.add("DELETE", f"/datasets/{digits}", "status", status=200, body=SAID_NO)
    with pytest.raises(UnexpectedResponse, match="not today"):
        client.datasets.delete(digits)
    for method in ("metrics", "search-condition"):
        emulator.faults.add("GET", method, "status", status=200, body="{}")
    with pytest.raises(UnexpectedResponse, match="none of metrics"):
        client.datasets.metrics(digits, start_time=1, end_time=2)
    with pytest.raises(UnexpectedResponse, match="none of labels"):
        client.datasets.search_options(digits)
