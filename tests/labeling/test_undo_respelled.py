"""Undo where the service keeps labels otherwise than they were sent."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.emulator.state import dataset as state
from airflow_provider_modelarts.labeling.apply.confirmation import LedgerTarget, confirm

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

from tests.labeling.reverted_run import PATH, RUN, Story, counts

RESPELLINGS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "trims names": lambda label: {**label, "name": label["name"].strip()},
    "composes characters": lambda label: {**label, "name": unicodedata.normalize("NFC", label["name"])},
    "writes capitals": lambda label: {**label, "name": label["name"].title()},
    "takes blanks out": lambda label: {**label, "name": "".join(label["name"].split())},
    "writes ligatures out": lambda label: {**label, "name": unicodedata.normalize("NFKC", label["name"])},
}


class Respelled(Story):
    """A run whose service keeps names otherwise than they were sent."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator, how: str, patch: pytest.MonkeyPatch) -> None:
        super().__init__(client, emulator, 8)
        names = {"composes characters": " Bl\u0075\u0308te ", "writes ligatures out": " \ufb01eld "}
        name = names.get(how, " red rose ")
        for sample_id, proposal in self.proposals.items():
            labels = [{**label, "name": name} for label in proposal.raw["labels"]]
            self.dataset.propose([{**proposal.raw, "labels": labels}])
            self.proposals[sample_id] = Sample({**proposal.raw, "labels": labels})
        kept, respell = state.Dataset.stored, RESPELLINGS[how]
        patch.setattr(state.Dataset, "stored", lambda dataset, label: respell(kept(dataset, label)))


@pytest.mark.parametrize("how", RESPELLINGS)
def test_an_undo_that_finds_all_respelled_touches_nothing_and_says_why(
    client: ModelArtsClient,
    emulator: Emulator,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    story = Respelled(client, emulator, how, monkeypatch)
    story.confirm()
    left = story.now()
    result = story.revert()
    assert counts(result) == {"changed": 8}
    assert story.now() == left
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("8 of 8 samples carry other spellings of what the run wrote, and were not touched")
    assert result.problems == (warning,)
    assert "other spellings" in result.markdown()
    assert "the service changes labels when it keeps them" in warning


@pytest.mark.parametrize("how", RESPELLINGS)
def test_a_lost_answer_is_recognised_although_the_service_respells_names(
    client: ModelArtsClient, emulator: Emulator, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Respelled(client, emulator, how, monkeypatch)
    emulator.faults.add("PUT", PATH, "reset_after")
    result = confirm(client, story.dataset_id, ledger=LedgerTarget(story.bucket, RUN))
    assert (result.confirmed, result.gone, result.failed) == (8, 0, 0)


def test_a_person_who_corrects_the_spelling_is_not_overwritten(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 6)
    sample_id = story.ids[2]
    raw = story.proposals[sample_id].raw
    story.proposals[sample_id] = Sample({**raw, "labels": [{**label, "name": "rose "} for label in raw["labels"]]})
    story.confirm()
    story.dataset.edit(sample_id, ["rose"])
    assert counts(story.revert()) == {"cleared": 5, "changed": 1}
    assert story.dataset.names_of(sample_id) == ["rose"]


@pytest.mark.parametrize("keeps", [{}, {"@modelarts:hard": True, "@modelarts:hard_coefficient": 0.7}])
def test_how_hard_an_example_is_does_not_keep_a_label_from_being_undone(
    client: ModelArtsClient, emulator: Emulator, keeps: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(client, emulator, 6, relabeled=2)
    kept = state.Dataset.stored

    def stored(dataset: state.Dataset, label: dict[str, Any]) -> dict[str, Any]:
        found = kept(dataset, label)
        others = {name: value for name, value in found["property"].items() if not name.startswith("@modelarts:hard")}
        return {**found, "property": others | keeps}

    monkeypatch.setattr(state.Dataset, "stored", stored)
    emulator.faults.add("PUT", PATH, "reset_after")
    result = confirm(client, story.dataset_id, ledger=LedgerTarget(story.bucket, RUN))
    assert (result.confirmed, result.gone) == (6, 0)
    assert counts(story.revert()) == {"restored": 2, "cleared": 4}


def test_lost_answers_of_which_all_look_gone_are_spoken_of(
    client: ModelArtsClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story(client, emulator, 6)
    kept = state.Dataset.stored
    monkeypatch.setattr(
        state.Dataset, "stored", lambda dataset, label: {**kept(dataset, label), "name": label["name"][:3]}
    )
    emulator.faults.add("PUT", PATH, "reset_after")
    assert confirm(client, story.dataset_id, ledger=LedgerTarget(story.bucket, RUN)).gone == 6
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "All 6 samples of a write" in warning
    assert "changes labels when it keeps them" in warning


def test_an_undo_of_what_one_person_changed_is_not_loud(
    client: ModelArtsClient, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story(client, emulator, 6)
    story.confirm()
    story.dataset.edit(story.ids[2], ["mine"])
    assert counts(story.revert()) == {"cleared": 5, "changed": 1}
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
