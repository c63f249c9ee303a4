"""A token that takes long to get: what was read grows old in that time, and somebody may ask for a stop (B8, B14)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.auth import forget_tokens
from airflow_provider_modelarts.labeling.apply.batch_writer import REREADS, BatchWriter
from airflow_provider_modelarts.labeling.apply.confirmation import confirm
from airflow_provider_modelarts.labeling.proposals.service_calls import DatasetProposals, ProposalRead
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus
from airflow_provider_modelarts.labeling.stop_signal import StopSignal

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from airflow_provider_modelarts.labeling.apply.batches import WriteOutcome
    from tests.support.clock import MovedClock

WRITE = ("PUT", "data-annotations/samples")
SAMPLES = 20


class World:
    """A list of proposals that has just been read; the next token takes 40 s, in which something happens."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator, clock: MovedClock) -> None:
        self.emulator, self.clock = emulator, clock
        self.dataset_id = emulator.load_proposals(SAMPLES)
        self.dataset = emulator.dataset(self.dataset_id)
        self.corrected = sorted(self.dataset.proposals)[3]
        self.is_stopped = False
        self.stops = False
        self.seconds = 40
        """How long the next token takes."""
        service = DatasetProposals(client, self.dataset_id, clock)  # type: ignore[arg-type]  # a clock by what it does
        page = service.page(0, 100)
        self.candidates = [ProposalRead(row, page.read_at) for row in page.items]
        self.writer = BatchWriter(service, batch_size=100, stop=StopSignal(lambda: self.is_stopped))

    def write(self) -> list[WriteOutcome]:
        self.emulator.faults.add("POST", "auth/tokens", "delay", times=None, seconds=0, match=self._take_long)
        return list(self.writer.write(self.candidates))

    def _take_long(self, call: Any) -> bool:
        self.clock.advance(self.seconds)
        self.is_stopped = self.stops
        if self.corrected in self.dataset.proposals:
            self.dataset.edit(self.corrected, ["corrected"])
        return True


@pytest.fixture
def world(client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock) -> World:
    return World(client, emulator, moved_clock)


def lose_the_token(world: World, how: str) -> int:
    """Return how many writes reach the service although nothing may be written."""
    if how == "first send":
        forget_tokens()
        return 0
    world.emulator.faults.add(*WRITE, "revoke")
    return 1


@pytest.mark.parametrize("how", ["first send", "repeat"])
def test_what_grew_old_while_a_token_was_fetched_is_read_again(world: World, how: str) -> None:
    lose_the_token(world, how)
    statuses = {sample_id: outcome.status for outcome in world.write() for sample_id in outcome.ids}
    assert statuses.pop(world.corrected) is ConfirmationStatus.GONE
    assert list(statuses.values()) == [ConfirmationStatus.CONFIRMED] * (SAMPLES - 1)
    assert world.dataset.names_of(world.corrected) == ["corrected"]


@pytest.mark.parametrize("seconds", [40, 5])
@pytest.mark.parametrize("how", ["first send", "repeat"])
def test_a_stop_while_a_token_is_fetched_holds_the_write_back(world: World, how: str, seconds: int) -> None:
    """Also where the read is still fresh when the token arrives: the age of a read alone would not tell."""
    sent = lose_the_token(world, how)
    world.stops, world.seconds = True, seconds
    outcomes = world.write()
    assert [outcome.status for outcome in outcomes for _ in outcome.ids] == [ConfirmationStatus.LEFT] * SAMPLES
    assert world.emulator.journal.count(*WRITE) == sent
    assert world.dataset.annotated == 1, "the one that was corrected"


def test_tokens_that_always_take_too_long_end_in_failures(world: World) -> None:
    """Each write costs a new token, and each token outlasts the read: it is given up, not tried for ever."""
    world.emulator.faults.add(*WRITE, "revoke", times=None)
    outcomes = world.write()
    failed = [outcome for outcome in outcomes if outcome.status is ConfirmationStatus.FAILED]
    assert len(failed) == SAMPLES - 1
    assert {outcome.code for outcome in failed} == {"not_sent"}
    assert world.emulator.journal.count(*WRITE) == REREADS + 1
    assert world.dataset.annotated == 1


def test_a_whole_run_survives_slow_tokens(client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock) -> None:
    dataset_id = emulator.load_proposals(250)

    def take_long(call: Any) -> bool:
        moved_clock.advance(40)
        return True

    emulator.faults.add("POST", "auth/tokens", "delay", times=None, seconds=0, match=take_long)
    emulator.faults.add(*WRITE, "revoke")
    result = confirm(client, dataset_id)
    assert (result.seen, result.confirmed, result.passes) == (250, 250, 1)
    assert emulator.faults.fired
