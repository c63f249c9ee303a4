"""Histories of one kind each, drawn from few things that may happen: what is wrong with a version shows in seconds."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.labeling.simulation import Event, Setup, small_world
from tests.labeling.state_machine import SETUPS, VARIANTS, ConfirmationMachine

Step = Callable[[ConfirmationMachine], None]


def play(setup: Setup, *steps: Step) -> ConfirmationMachine:
    """Take steps, then let a try end undisturbed and undo it; whatever is wrong on the way is a Violation."""
    with small_world():
        machine = ConfirmationMachine()
        machine.begin(setup=setup)
        for step in steps:
            step(machine)
        machine.teardown()
    return machine


def confirming(*script: Event, killed_at: int | None = None) -> Step:
    """Return a try that is disturbed, or killed."""
    return lambda machine: machine.try_to_confirm(script=list(script), killed_at=killed_at)


def at_once() -> Step:
    """Return two tries that take turns."""
    return lambda machine: machine.try_twice_at_once(script=[], killed=(None, None))


def calm(*, histories: int, **given: Any) -> None:
    """Nobody else is there, and nothing fails."""
    for seed in range(histories):
        play(_setup(seed, **{"bad": 0.0, "labeled": 0.0, **given}))


def disturbed(*what: str, histories: int, **given: Any) -> None:
    """A try is disturbed by what is named."""
    for seed in range(histories):
        rng = random.Random(seed)
        play(_setup(seed, **given), confirming(*(Event(rng.randint(0, 40), rng.choice(what)) for _ in range(4))))


def killed(*, histories: int, **given: Any) -> None:
    """Two tries are killed, the third one is not."""
    for seed in range(histories):
        rng = random.Random(seed)
        steps = [confirming(killed_at=rng.randint(1, 40)) for _ in range(2)]
        play(_setup(seed, **{"keeps": "both", **given}), *steps)


def together(*, histories: int, **given: Any) -> None:
    """Two tries make a plan and confirm beside each other."""
    for seed in range(histories):
        play(_setup(seed, **{"keeps": "ledger", **given}), at_once())


def _setup(seed: int, *, variants: dict[str, Any] | None = None, **given: Any) -> Setup:
    rng = random.Random(seed)
    drawn = {name: rng.choice(values) for name, values in SETUPS.items()}
    quirks = {name: rng.choice(values) for name, values in VARIANTS.items()}
    return replace(
        Setup(samples=rng.randint(8, 26), seed=seed, **drawn),
        variants={**quirks, "shrink_list": 0, **(variants or {})},
        **given,
    )
