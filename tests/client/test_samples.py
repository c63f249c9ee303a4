"""Proposals and labels: listing, confirming, clearing. Contract 3 and 4, B10, B11, B13, B15."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import OffsetMode, Sample, SampleLabel
from airflow_provider_modelarts.client.errors import InvalidRequest, NotFound, Throttled, UnexpectedResponse
from airflow_provider_modelarts.client.requests.samples import SampleLabels
from airflow_provider_modelarts.client.sample_updates import labeled_elements, outcomes

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

MODES = {"page": OffsetMode.PAGES, "record": OffsetMode.RECORDS}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 99, 100, 101, 200, 250])
def test_a_list_is_complete_whatever_offset_counts(
    client: ModelArtsClient, emulator: Emulator, count: int, mode: str
) -> None:
    emulator.variants.offset_mode = mode
    dataset_id = emulator.load_proposals(count)
    ids = [sample.sample_id for sample in client.proposals.list(dataset_id)]
    assert len(ids) == len(set(ids)) == count
    assert set(ids) == set(emulator.dataset(dataset_id).proposals)


@pytest.mark.parametrize("mode", MODES)
def test_pages_can_be_walked_as_one_likes(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, mode: str, moved_clock: MovedClock
) -> None:
    emulator.variants.offset_mode = mode
    counts = MODES[mode]
    pages = [
        client.proposals.page(dataset_id, number, limit=60, order="asc", offset_mode=counts) for number in range(6)
    ]
    assert [len(page.items) for page in pages] == [60, 60, 60, 60, 10, 0]
    assert {page.total for page in pages} == {250}
    assert len({sample.sample_id for page in pages for sample in page.items}) == 250
    assert pages[0].read_at == moved_clock.now()


def test_a_list_that_shrinks_while_it_is_read_says_so(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.variants.shrink_list = 5
    found = [sample.sample_id for sample in client.proposals.list(dataset_id)]
    assert len(found) == len(set(found))
    assert "changed while it was read" in caplog.text


def test_a_page_that_is_missing_is_noticed(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    body = json.dumps({"sample_count": 250, "samples": []})
    emulator.faults.add("GET", "auto-annotations", "status", status=200, body=body, after=1)
    with pytest.raises(UnexpectedResponse, match="counts 250, but lists only 100"):
        list(client.proposals.list(dataset_id))


def test_filters_reach_the_service(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    everything = list(client.proposals.list(dataset_id))
    name = everything[0].labels[0].name
    found = list(client.proposals.list(dataset_id, label_name=name, low_score=0.5, high_score="0.9", order="asc"))
    expected = {
        sample.sample_id
        for sample in everything
        if any(label.name == name and 0.5 <= (label.score or 0) <= 0.9 for label in sample.labels)
    }
    assert {sample.sample_id for sample in found} == expected
    hard = list(client.proposals.list(dataset_id, search_conditions={"hard": "1"}))
    assert {one.sample_id for one in hard} == {one.sample_id for one in everything if one.is_hard}
    assert 0 < len(hard) < 250


@pytest.mark.parametrize("kind", ["classification", "multi_label", "detection"])
@pytest.mark.parametrize("hard", ["bool", "number", "text"])
@pytest.mark.parametrize("score", ["number", "text"])
def test_labels_go_back_exactly_as_they_came(
    client: ModelArtsClient, emulator: Emulator, kind: str, hard: str, score: str
) -> None:
    emulator.variants.hard, emulator.variants.score = hard, score
    emulator.variants.extra_fields = emulator.variants.null_fields = True
    dataset_id = emulator.load_proposals(20, kind=kind)
    page = client.proposals.page(dataset_id, 0)
    served = json.loads(emulator.journal.select("GET", "auto-annotations")[-1].response)
    assert all(outcome.ok for outcome in client.samples.update(dataset_id, page.items))
    sent = json.loads(emulator.journal.select("PUT")[-1].body)
    assert json.dumps([one["labels"] for one in sent["samples"]]) == (
        json.dumps([one["labels"] for one in served["samples"]])
    )
    allowed = {"sample_id", "labels", "metadata"} if kind == "detection" else {"sample_id", "labels"}
    assert all(set(one) == allowed for one in sent["samples"])
    if kind == "detection":
        assert all(set(one["metadata"]) == {"@modelarts:size"} for one in sent["samples"])
    assert {sample.is_hard for sample in page.items} <= {True, False}
    assert client.proposals.page(dataset_id, 0).total == 0


@pytest.mark.parametrize("metadata", [None, {}, {"@modelarts:size": None}, {"@modelarts:size": []}], ids=str)
def test_boxes_without_a_size_go_back_without_one(
    client: ModelArtsClient, emulator: Emulator, metadata: dict[str, Any] | None
) -> None:
    dataset_id = emulator.load_proposals(1, kind="detection")
    (listed,) = client.proposals.page(dataset_id, 0).items
    assert listed.labels[0].is_detection
    without = Sample({**listed.raw, "metadata": metadata})
    client.samples.update(dataset_id, [without])
    (sent,) = json.loads(emulator.journal.select("PUT")[-1].body)["samples"]
    assert set(sent) == {"sample_id", "labels"}


def test_one_proposal_can_be_read(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    listed = client.proposals.page(dataset_id, 0, limit=1).items[0]
    single = client.proposals.get(dataset_id, listed.sample_id)
    assert single.raw["labels"] == listed.raw["labels"]
    client.samples.update(dataset_id, [listed])
    with pytest.raises(NotFound):
        client.proposals.get(dataset_id, listed.sample_id)
    assert client.samples.get(dataset_id, listed.sample_id).labels[0].name == listed.labels[0].name


def test_labels_can_be_written_as_dicts_and_cleared(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str
) -> None:
    sample_id = client.proposals.page(dataset_id, 0, limit=1).items[0].sample_id
    label = {"name": "löwe", "type": 0}
    assert client.samples.update(dataset_id, [{"sample_id": sample_id, "labels": [label]}])[0].ok
    assert [one.name for one in client.samples.get(dataset_id, sample_id).labels] == ["löwe"]
    assert client.samples.clear_labels(dataset_id, [sample_id])[0].ok
    assert client.samples.get(dataset_id, sample_id).labels == ()


@pytest.mark.parametrize("form", ["normal", "shuffled"])
def test_one_bad_sample_is_named_and_the_others_are_written(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, form: str
) -> None:
    emulator.variants.results = form
    samples: list[Any] = list(client.proposals.page(dataset_id, 0, limit=5).items)
    samples.insert(2, {"sample_id": "unknown", "labels": [{"name": "a"}]})
    found = client.samples.update(dataset_id, samples)
    assert [outcome.ok for outcome in found] == [True, True, False, True, True, True]
    assert (found[2].sample_id, found[2].error_code) == ("unknown", "ModelArts.4420")


@pytest.mark.parametrize("form", ["missing", "short"])
def test_an_answer_that_does_not_say_which_leaves_all_unknown(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, form: str
) -> None:
    emulator.variants.results = form
    samples: list[Any] = list(client.proposals.page(dataset_id, 0, limit=3).items)
    samples.append({"sample_id": "unknown", "labels": [{"name": "a"}]})
    assert [outcome.ok for outcome in client.samples.update(dataset_id, samples)] == [None] * 4


def test_results_beside_a_success_are_read(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    emulator.variants.results_on_success = True
    samples = client.proposals.page(dataset_id, 0, limit=3).items
    assert [outcome.ok for outcome in client.samples.update(dataset_id, samples)] == [True] * 3


GOOD, BAD = {"success": True}, {"success": False, "error_code": "ModelArts.4423", "error_msg": "Size unknown."}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"success": True}, [True, True]),
        ({"success": True, "results": []}, [True, True]),
        ({"success": True, "results": None}, [True, True]),
        ({"success": True, "results": [GOOD, GOOD]}, [True, True]),
        ({"success": True, "results": [GOOD, BAD]}, [None, None]),
        ({"success": True, "results": [GOOD]}, [None, None]),
        ({"success": False, "results": [GOOD, BAD]}, [True, False]),
        ({"success": False, "results": [BAD, BAD]}, [False, False]),
        ({"success": False, "results": [GOOD, GOOD]}, [None, None]),
        ({"success": False, "results": [BAD]}, [None, None]),
        ({"success": False, "results": [None, BAD]}, [None, None]),
        ({"success": False, "results": [{}, BAD]}, [None, None]),
        ({"success": False, "error_code": "ModelArts.4381"}, [None, None]),
        ({"success": None}, [None, None]),
        ({}, [None, None]),
        (None, [None, None]),
        ([], [None, None]),
    ],
)
def test_success_is_believed_only_where_all_agrees(answer: object, expected: list[bool | None]) -> None:
    found = outcomes(["a", "b"], answer)
    assert [outcome.ok for outcome in found] == expected
    assert [outcome.sample_id for outcome in found] == ["a", "b"]
    assert all(outcome.ok or outcome.error_msg for outcome in found)


@pytest.mark.parametrize("answer", [{"results": [BAD]}, {"success": None, "results": [BAD]}], ids=str)
def test_a_refusal_of_the_only_sample_is_one_although_the_whole_says_nothing(answer: object) -> None:
    (outcome,) = outcomes(["a"], answer)
    assert (outcome.ok, outcome.error_code) == (False, "ModelArts.4423")


def test_a_text_that_names_a_sample_beats_its_position() -> None:
    named = {"success": False, "error_code": "ModelArts.4420", "error_msg": "Sample not found. [b]"}
    found = outcomes(["a", "b"], {"success": False, "results": [named, GOOD]})
    assert [outcome.ok for outcome in found] == [True, False]


def test_samples_of_a_dataset(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_digits(labeled=120)
    assert len(list(client.samples.list(dataset_id, sample_state="__ALL__"))) == 120
    assert len(list(client.samples.list(dataset_id))) == 1797


def test_team_samples_are_written_for_a_member(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_digits(labeled=120)
    given = list(emulator.truth(dataset_id))[:150]
    team_task = emulator.create_team_task(dataset_id, ("a@example.com", "b@example.com"), sample_ids=given)
    copies = list(client.team_samples.list(dataset_id, team_task))
    assert len(copies) == 2 * 150
    mine = [copy for copy in copies if copy.worker_id == copies[0].worker_id][:2]
    changed: list[Any] = [
        {"sample_id": one.sample_id, "worker_id": one.worker_id, "labels": [{"name": "7", "type": 0}]} for one in mine
    ]
    changed.append({"sample_id": "unknown", "worker_id": mine[0].worker_id, "labels": [{"name": "7"}]})
    found = client.team_samples.update(dataset_id, team_task, changed, email="a@example.com")
    assert [outcome.ok for outcome in found] == [True, True, False]
    assert json.loads(emulator.journal.select("PUT", team_task)[-1].body)["email"] == "a@example.com"


def test_a_members_copy_goes_back_as_that_members_copy(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_digits(labeled=120)
    sample_id = next(iter(emulator.truth(dataset_id)))
    team_task = emulator.create_team_task(dataset_id, ("a@example.com", "b@example.com"), sample_ids=[sample_id])
    first, second = client.team_samples.list(dataset_id, team_task)
    labeled = Sample({**second.raw, "labels": [{"name": "7", "type": 0}]})
    assert client.team_samples.update(dataset_id, team_task, [labeled])[0].ok
    view = emulator.dataset(dataset_id)
    assert view.team_labels_of(team_task, sample_id, first.worker_id or "") == []
    assert [one["name"] for one in view.team_labels_of(team_task, sample_id, second.worker_id or "")] == ["7"]


def test_datasets_labels_and_statistics(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_digits(labeled=120)
    dataset = client.datasets.get(dataset_id)
    assert (dataset.is_normal, dataset.total_sample_count, dataset.annotated_sample_count) == (True, 1797, 120)
    assert [one.dataset_id for one in client.datasets.list()] == [dataset_id]
    assert {label.name for label in client.labels.list(dataset_id)} == set("0123456789")
    stats = client.datasets.stats(dataset_id)
    assert (stats.samples["manual_annotation"], stats.samples["total"]) == (120, 1797)
    assert sum(label.sample_count or 0 for label in stats.labels) == 120
    task_id = client.tasks.start(dataset_id)
    running = client.datasets.get(dataset_id, running_task_type=0)
    assert (running.exist_running_task, running.running_task_ids) == (True, (task_id,))


def test_reading_a_sample_costs_less_than_parsing_it() -> None:
    """Not a timing: a sample is read without looking into it."""

    class Untouched(dict[str, Any]):
        def get(self, *_: object) -> Any:
            raise AssertionError("a field was read although nobody asked for it")

    sample = Sample(Untouched(sample_id="s"))
    assert sample.raw == {"sample_id": "s"}
    with pytest.raises(AssertionError):
        _ = sample.sample_id


def test_a_write_that_may_not_wait_is_sent_once(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    sample = client.proposals.page(dataset_id, 0, limit=1).items[0]
    rule = emulator.faults.add("PUT", dataset_id, "status", status=429, times=None)
    for write in (
        lambda: client.samples.update(dataset_id, [sample], retry=False),
        lambda: client.samples.clear_labels(dataset_id, [sample.sample_id], retry=False),
    ):
        fired = rule.fired
        with pytest.raises(Throttled):
            write()
        assert rule.fired == fired + 1


def test_what_the_service_says_about_a_sample_is_shown_without_signatures() -> None:
    said = "Cannot read.\n[https://b.obs.example.com/a.jpg?AccessKeyId=AK&Signature=SIGNED]"
    for answer in (
        {"success": False, "results": [{"success": False, "error_code": "c", "error_msg": said}]},
        {"success": False, "error_code": "c", "error_msg": said},
    ):
        (found,) = outcomes(["s"], answer)
        assert found.error_msg == "Cannot read. [https://b.obs.example.com/a.jpg"


WRITES: dict[str, Callable[..., Any]] = {
    "update": lambda client, dataset_id, **more: client.samples.update(
        dataset_id, list(client.proposals.page(dataset_id, 0, limit=2).items), **more
    ),
    "clear_labels": lambda client, dataset_id, **more: client.samples.clear_labels(
        dataset_id, [sample.sample_id for sample in client.proposals.page(dataset_id, 0, limit=2).items], **more
    ),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_before_each_sending_the_caller_is_asked_once_more(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, write: Callable[..., Any]
) -> None:
    emulator.faults.add("PUT", "data-annotations", "revoke")
    journal = emulator.journal
    seen: list[tuple[int, int]] = []

    def look() -> None:
        seen.append((journal.count("POST", "auth/tokens"), journal.count("PUT", "data-annotations")))

    assert [outcome.ok for outcome in write(client, dataset_id, before_sending=look)] == [True, True]
    assert seen == [(1, 0), (2, 1)], "after the token was fetched, before the request went out"


@pytest.mark.parametrize("spared", [0, 1])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_it_raises_keeps_the_request_back(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, spared: int, write: Callable[..., Any]
) -> None:
    emulator.faults.add("PUT", "data-annotations", "revoke")
    times = iter(range(10))

    def refuse() -> None:
        if next(times) >= spared:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write(client, dataset_id, before_sending=refuse)
    assert emulator.journal.count("PUT", "data-annotations") == spared
    assert emulator.dataset(dataset_id).annotated == 0


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([None, {"name": "a"}], ["a"]),
        (["a", {"name": "b"}], ["b"]),
        ([{"name": "a"}, 3, ["b"]], ["a"]),
        ({"name": "a"}, []),
        ("a", []),
        (7, []),
    ],
)
def test_a_sample_whose_labels_are_odd_is_read_and_says_so(labels: object, names: list[str]) -> None:
    odd = Sample({"sample_id": "s", "labels": labels})
    assert odd.oddity
    assert [label.name for label in odd.labels] == odd.label_names == names
    assert (odd.is_hard, odd.hard_reasons) == (None, ())
    assert "sample_id='s'" in repr(odd)
    with pytest.raises(InvalidRequest, match=r"\bs\b"):
        labeled_elements([{"sample_id": "good", "labels": [{"name": "a"}]}, odd])


@pytest.mark.parametrize("raw", [{}, {"labels": None}, {"labels": []}, {"labels": [{"name": "a"}, {}]}])
def test_a_sample_whose_labels_are_a_list_of_objects_or_none_is_not_odd(raw: dict[str, Any]) -> None:
    assert Sample({"sample_id": "s", **raw}).oddity is None


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ({"nmae": "daisy"}, "'nmae', but no 'name'"),
        ({"Name": "daisy"}, "'Name', but no 'name'"),
        ({"names": "daisy", "type": 0}, "'names', but no 'name'"),
        ({"label": "daisy", "score": 1}, "without a name: number 2, whose fields are label, score"),
        ({"name": None}, "without a name: number 2, whose name is None"),
        ({"name": None, "type": 0, "score": 0.9}, "without a name: number 2, whose name is None"),
        ({"name": ""}, "name is ''"),
        ({"name": " \t"}, r"name is ' \\t'"),
        ({"name": True}, "name is True"),
        ({"name": ["daisy"]}, "name is"),
        ({"type": 0}, "without a name: number 2, whose fields are type"),
        ({"type": 102, "property": {"@modelarts:from": "1"}}, "fields are property, type"),
    ],
)
@pytest.mark.parametrize("form", ["dict", "sample", "label"])
def test_a_label_that_lacks_what_it_needs_is_refused_before_anything_is_sent(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, label: dict[str, Any], said: str, form: str
) -> None:
    sample_id = client.proposals.page(dataset_id, 0, limit=1).items[0].sample_id
    client.samples.update(dataset_id, [{"sample_id": sample_id, "labels": [{"name": "a person's", "type": 0}]}])
    written = emulator.journal.count("PUT")
    labels = [{"name": "fine", "type": 0}, label]
    given: Any = {"sample_id": sample_id, "labels": [SampleLabel(one) for one in labels] if form == "label" else labels}
    if form == "sample":
        given = Sample(given)
    with pytest.raises(InvalidRequest, match=f"ample {sample_id} has .*{said}"):
        client.samples.update(dataset_id, [given])
    assert emulator.journal.count("PUT") == written
    assert [one.name for one in client.samples.get(dataset_id, sample_id).labels] == ["a person's"]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ({"name": "daisy", "propertys": {"@modelarts:shape": "bndbox"}}, "'propertys', but no 'property'"),
        ({"name": "daisy", "tpye": 1}, "'tpye', but no 'type'"),
    ],
)
def test_a_misspelled_field_of_a_label_is_refused_with_the_right_name(label: dict[str, Any], said: str) -> None:
    for one in (label, SampleLabel(label)):
        with pytest.raises(InvalidRequest, match=f"Label 1 of sample s .*{said}"):
            labeled_elements([{"sample_id": "s", "labels": [one]}])
    (element,) = labeled_elements([Sample({"sample_id": "s", "labels": [label]})])
    assert element["labels"] == [label], "what was listed goes back as it came"


@pytest.mark.parametrize("kind", [201, 202, "201", 202.0, None])
@pytest.mark.parametrize("name", [{}, {"name": None}, {"name": ""}, {"name": "said"}])
def test_what_was_said_is_written_without_a_name(kind: Any, name: dict[str, Any]) -> None:
    label = {**name, "type": kind, "property": {"@modelarts:content": "Good morning.", "@modelarts:source": "A"}}
    for given in ({"sample_id": "s", "labels": [label]}, Sample({"sample_id": "s", "labels": [label]})):
        (element,) = labeled_elements([given])
        assert element["labels"] == [label]


@pytest.mark.parametrize("kind", [201, 202, "201", None])
@pytest.mark.parametrize(
    "rest",
    [
        {},
        {"property": None},
        {"property": {}},
        {"property": {"@modelarts:content": ""}},
        {"property": {"@modelarts:content": " "}},
        {"property": {"@modelarts:content": None}},
        {"property": {"@modelarts:contnet": "Good morning."}},
        {"property": "Good morning.", "name": ""},
        {"property": {"@modelarts:source": "A"}, "name": None},
    ],
)
def test_a_label_of_speech_that_says_nothing_replaces_none(kind: Any, rest: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"Sample s has a label without a name: number 1.*content"):
        labeled_elements([{"sample_id": "s", "labels": [{"type": kind, **rest}]}])


def test_a_segment_of_speech_may_wait_for_its_text() -> None:
    times = {"@modelarts:start_time": "00:00:01.000", "@modelarts:end_time": "00:00:02.000"}
    (element,) = labeled_elements([{"sample_id": "s", "labels": [{"type": 202, "property": times}]}])
    assert element["labels"] == [{"type": 202, "property": times}]


def test_what_a_service_adds_to_a_label_goes_back_with_it() -> None:
    label = {"name": "5", "annotated_at": 3, "scores": [1], "x": None, "colour": "#fff"}
    (element,) = labeled_elements([{"sample_id": "s", "labels": [label]}])
    assert element["labels"] == [label]


@pytest.mark.parametrize(("key", "right"), [("lables", "labels"), ("workerid", "worker_id"), ("Metadata", "metadata")])
def test_a_misspelled_field_of_a_sample_is_refused_with_the_right_name(key: str, right: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"{key} \(is {right} meant\?\)"):
        labeled_elements([{"sample_id": "s", "labels": [{"name": "a"}], key: [{"name": "b"}]}])


def test_a_request_model_writes_what_its_dict_does(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(2, labels=["rose"])
    first, second = emulator.dataset(dataset_id).samples
    given = {"labels": [{"name": "rose", "type": 0}], "sample_usage": "TRAIN"}
    model = SampleLabels.model_validate({"sample_id": first, **given})
    outcomes = client.samples.update(dataset_id, [model, {"sample_id": second, **given}])
    assert [one.ok for one in outcomes] == [True, True]
    labels = [emulator.dataset(dataset_id).labels_of(one) for one in (first, second)]
    assert labels[0][0]["name"] == labels[1][0]["name"] == "rose"
    with pytest.raises(InvalidRequest, match="labels"):
        client.samples.update(dataset_id, [SampleLabels.model_validate({"sample_id": first})])
