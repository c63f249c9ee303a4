"""Tells stories side by side: each needs Airflow for a minute, most of which it waits."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.soak.story_world import StoryWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from demo.airflow_processes import AirflowProcesses

AT_ONCE = 12


@dataclass(frozen=True)
class Story:
    """A story.

    :param name: says what happens to whom
    :param tell: tells it in a world, and raises if it took another course than it must
    """

    name: str
    tell: Callable[[StoryWorld], None]

    def __str__(self) -> str:
        return self.name


@dataclass
class StoryOutcome:
    """How a story went."""

    error: BaseException | None
    seconds: float
    notes: list[str]


class StoryRunner:
    """Tells stories in one Airflow, so many at once.

    :param folder: where the stories' own folders go
    """

    def __init__(self, airflow: AirflowProcesses, folder: Path) -> None:
        self._airflow = airflow
        self._folder = folder
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="story")
        self._told: dict[str, Future[StoryOutcome]] = {}

    def begin(self, stories: Iterable[Story]) -> None:
        """Begin to tell stories in their order; those already begun are not told again."""
        for story in stories:
            if story.name not in self._told:
                self._told[story.name] = self._pool.submit(self._tell, story)

    def outcome(self, story: Story) -> StoryOutcome:
        """Return how a story went, as soon as it is told."""
        self.begin([story])
        return self._told[story.name].result()

    def finish(self) -> None:
        """Wait until every story that was begun is told."""
        for future in self._told.values():
            future.result()

    def give_up(self) -> None:
        """End all stories at once."""
        self._ended.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _tell(self, story: Story) -> StoryOutcome:
        name = re.sub(r"\W+", "_", story.name)
        world = StoryWorld(self._airflow, name, self._folder / name, self._ended)
        begin = time.monotonic()
        error: BaseException | None = None
        try:
            with world.alive():
                story.tell(world)
        except Exception as raised:  # noqa: BLE001 - whatever went wrong is the story's outcome
            error = raised
        return StoryOutcome(error, time.monotonic() - begin, world.notes)
