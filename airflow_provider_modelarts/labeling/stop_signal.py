"""One object says that nothing further may be written."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_modelarts.client.clock import system_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_modelarts.client.clock import Clock


class StopSignal:
    """Says "stop writing" to all threads of a run; once set it stays set.

    It holds plain attributes and no lock: a signal handler may interrupt the main thread anywhere, also here.

    :param should_stop: asked as well, in any thread, until it has said yes once
    """

    def __init__(self, should_stop: Callable[[], bool] | None = None) -> None:
        self._should_stop = should_stop
        self._is_requested = self._is_aborted = self._is_undecided = False

    def request(self) -> None:
        """Ask the run to stop before its end."""
        self._is_requested = True

    def abort(self) -> None:
        """Hold back all further writes because the run is over, by an error or at its end; nobody asked for a stop."""
        self._is_aborted = True

    def is_requested(self) -> bool:
        """Return whether somebody asked for a stop; waits while that is being found out (:meth:`undecided`)."""
        while self._is_undecided:
            system_clock.sleep(0.01)
        if self._should_stop is not None and not self._is_requested and self._should_stop():
            self._is_requested = True
        return self._is_requested

    def is_set(self) -> bool:
        """Return whether nothing further may be written."""
        return self._is_aborted or self.is_requested()

    def pause(self, seconds: float, clock: Clock) -> None:
        """Sleep in short pieces: a stop ends the pause."""
        end = clock.now() + seconds
        while not self.is_set() and (left := end - clock.now()) > 0:
            clock.sleep(min(left, 1.0))

    @contextmanager
    def undecided(self) -> Iterator[None]:
        """Let all who ask wait until it is known whether to stop."""
        self._is_undecided = True
        try:
            yield
        finally:
            self._is_undecided = False
