"""Moves the time of the package and of an emulator together, so that a wait of an hour costs a test nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from airflow_provider_modelarts.emulator import Emulator


class MovedClock:
    """The one clock of a test: ``sleep`` moves it and returns at once.

    ``slept`` holds what was asked for, in seconds, in order.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.slept: list[float] = []

    def now(self) -> float:
        """Return the time that emulator and client share, as epoch seconds."""
        return self._emulator.clock.now()

    def advance(self, seconds: float) -> None:
        """Move the time without anybody having slept."""
        self._emulator.clock.advance(seconds)

    def sleep(self, seconds: float) -> None:
        """Do what a real sleep of ``seconds`` does to the time."""
        self.slept.append(seconds)
        self.advance(max(seconds, 0.0))

    async def sleep_async(self, seconds: float) -> None:
        """Do the same and let other coroutines run, as a real sleep would."""
        self.sleep(seconds)
        await asyncio.sleep(0)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put this clock in the place of the package's own, for all who hold it already and all who come."""
        from airflow_provider_modelarts.client.clock import Clock

        async def sleep_async(_: Clock, seconds: float) -> None:
            await self.sleep_async(seconds)

        monkeypatch.setattr(Clock, "now", lambda _: self.now())
        monkeypatch.setattr(Clock, "sleep", lambda _, seconds: self.sleep(seconds))
        monkeypatch.setattr(Clock, "sleep_async", sleep_async)
