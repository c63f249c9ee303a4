"""Undo of samples that a run wrote more than once, and that people corrected in between."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.client.clock import Clock
from airflow_provider_modelarts.labeling.apply.confirmation import LedgerTarget, confirm
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
    from tests.support.clock import MovedClock

from tests.labeling.reverted_run import PERSON, RUN, Story, counts


def confirm_again(story: Story, names: Mapping[str, str], identity: RunIdentity, moved_clock: MovedClock) -> None:
    """Let a labeling task propose samples again, a minute later, and a task of the run confirm that."""
    moved_clock.advance(60)
    for sample_id, name in names.items():
        proposal = story.proposals[sample_id].raw
        labels = [{**label, "name": name} for label in proposal["labels"]]
        story.dataset.propose([{**proposal, "labels": labels, "annotated_by": PERSON}])
    result = confirm(story.client, story.dataset_id, ledger=LedgerTarget(story.bucket, identity))
    assert result.confirmed == len(names)


def begin(story: Story, identity: RunIdentity) -> None:
    confirm(story.client, story.dataset_id, ledger=LedgerTarget(story.bucket, identity))


CLEARED = replace(RUN, try_number=2, intent="cleared")


def test_what_a_person_corrected_between_two_writes_of_a_run_comes_back(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    story = Story(client, emulator, 5)
    corrected, left = story.ids[2:4]
    begin(story, RUN)
    story.dataset.edit(corrected, ["corrected"])
    confirm_again(story, {corrected: "proposed again", left: "proposed again"}, CLEARED, moved_clock)
    assert counts(story.revert()) == {"restored": 1, "cleared": 4}
    assert story.dataset.names_of(corrected) == ["corrected"]
    assert [sample_id for sample_id, labels in story.now().items() if labels] == [corrected]


@pytest.mark.parametrize("tasks", ["abc", "bac", "bca", "cba"])
def test_of_several_corrections_the_last_one_comes_back_whatever_the_tasks_are_called(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, tasks: str
) -> None:
    story = Story(client, emulator, 5, relabeled=1)
    sample_id = story.ids[0]
    begin(story, replace(RUN, task_id=tasks[0]))
    for number, task_id in enumerate(tasks[1:]):
        story.dataset.edit(sample_id, [f"corrected {number}"])
        confirm_again(story, {sample_id: f"proposed {number}"}, replace(RUN, task_id=task_id), moved_clock)
    assert counts(story.revert()) == {"restored": 1, "cleared": 4}
    assert story.dataset.names_of(sample_id) == ["corrected 1"]


@pytest.mark.parametrize("relabeled", [0, 5])
@pytest.mark.parametrize("tasks", [("a_first", "z_second"), ("z_first", "a_second")])
def test_what_one_task_wrote_is_not_what_was_there_before_the_next(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, tasks: tuple[str, str], relabeled: int
) -> None:
    story = Story(client, emulator, 5, relabeled=relabeled)
    first, second = (replace(RUN, task_id=task_id) for task_id in tasks)
    begin(story, first)
    confirm_again(story, dict.fromkeys(story.ids, "proposed again"), second, moved_clock)
    assert counts(story.revert()) == {"restored" if relabeled else "cleared": 5}
    assert story.now() == story.before


def test_a_write_whose_task_was_killed_is_one_that_replaced_a_correction(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    story = Story(client, emulator, 5)
    sample = story.proposals[story.ids[2]]
    story.confirm()
    moved_clock.advance(60)
    story.dataset.edit(sample.sample_id, ["corrected"])
    killed = LedgerWriter(story.bucket, CLEARED, story.dataset_id)
    killed.record(story.entry(sample, fate="intended", before=story.dataset.labels_of(sample.sample_id)))
    killed.flush()
    client.samples.update(story.dataset_id, [sample])
    with LedgerWriter(story.bucket, replace(CLEARED, try_number=3), story.dataset_id) as ledger:
        ledger.record(story.entry(sample, before=None, read=True))
    assert counts(story.revert()) == {"restored": 1, "cleared": 4}
    assert story.dataset.names_of(sample.sample_id) == ["corrected"]


class ClockSetBack(Clock):
    """Shows less each time it is read."""

    time = 1e9

    def now(self) -> float:
        self.time -= 60
        return self.time


def test_a_clock_that_is_set_back_does_not_turn_a_chain_around(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 5)
    sample = story.proposals[story.ids[2]]
    client.samples.update(story.dataset_id, [sample])
    with LedgerWriter(story.bucket, RUN, story.dataset_id, clock=ClockSetBack()) as ledger:
        for name in ("first", "last"):
            ledger.record(story.entry(sample, before=[{"name": name, "type": 0}]))
            ledger.flush()
    assert counts(story.revert()) == {"restored": 1}
    assert story.dataset.names_of(sample.sample_id) == ["last"]
