"""A few stories of each kind, for every run of the tests; ``make soak`` tells all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak import soak_deadlines, soak_examples, soak_foreign, soak_kills, soak_steps, soak_users

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.soak.story_runner import Story

FEW = frozenset(
    {
        "after_post, own_process, start_deferred",
        "before the reply, supervisor, start_waiting",
        "resumed, own_process, start_deferred",
        "evicted, start_waiting",
        "marked failed, start_deferred",
        "run failed, start_waiting",
        "cleared, start_deferred",
        "execution_timeout, start_deferred",
        "soft_timeout, sensor_poke",
        "adopt, marked failed, start_deferred",
        "wait, undisturbed, start_waiting",
        "auto_label_images",
        "answered, create",
        "on its way, export",
    }
)
MODULES = (soak_kills, soak_users, soak_deadlines, soak_foreign, soak_examples, soak_steps)
STORIES = [story for module in MODULES for story in module.stories() if story.name in FEW]


def test_every_chosen_story_exists() -> None:
    assert {story.name for story in STORIES} == FEW


@pytest.mark.e2e
@pytest.mark.parametrize("story", STORIES, ids=str)
def test_story(story: Story, run_story: Callable[[Story], None]) -> None:
    run_story(story)
