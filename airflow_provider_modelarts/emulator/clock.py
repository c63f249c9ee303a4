"""Time as the emulator sees it: real by default, moved by tests."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class EmulatorClock:
    """Epoch seconds that a test can push forward or hold still.

    Labeling tasks, token lifetimes and rate limits are pure functions of this clock, so moving it is all a test
    has to do. Safe to use from any thread.

    :param source: where real time comes from; epoch seconds. Default: the machine's clock.
    """

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._offset = 0.0
        self._held: float | None = None

    def now(self) -> float:
        """Return the emulator's time in epoch seconds."""
        with self._lock:
            return (self._source() if self._held is None else self._held) + self._offset

    def advance(self, seconds: float) -> None:
        """Move time forward.

        :param seconds: how far, at least 0.
        :raises ValueError: a negative number; time does not run backwards.
        """
        if seconds < 0:
            raise ValueError(f"the clock cannot be moved back by {-seconds} s")
        with self._lock:
            self._offset += seconds

    def freeze(self) -> None:
        """Hold time still: from now on only :meth:`advance` moves it."""
        with self._lock:
            if self._held is None:
                self._held = self._source()

    def resume(self) -> None:
        """Let real time run again from the moment at which it was frozen."""
        with self._lock:
            if self._held is not None:
                self._offset -= self._source() - self._held
                self._held = None
