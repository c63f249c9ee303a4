"""The one place where the package reads the time or sleeps, so that a test can move time instead of waiting for it."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Wall-clock time in epoch seconds: deadlines travel between processes, so a monotonic clock would not do."""

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Block the calling thread.

        :param seconds: how long; zero and less return at once
        """
        if seconds > 0:
            time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Suspend the calling coroutine.

        :param seconds: how long; zero and less only give way to other coroutines
        """
        await asyncio.sleep(max(seconds, 0))


system_clock = Clock()

CLOCKS_DIFFER = 60.0
"""Seconds by which the clocks of two machines may differ: of workers, of Airflow's API server, of the service."""


def is_certainly_before(time: float, other: float) -> bool:
    """Whether something happened before something else, of which another machine noted the time.

    :param time: epoch seconds
    :param other: epoch seconds
    """
    return time < other - CLOCKS_DIFFER
