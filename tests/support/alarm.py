"""Airflow's alarm, that of an ``execution_timeout``, at a moment of the test's choice."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.timeout import TimeoutPosix

from tests.support.once import Once

if TYPE_CHECKING:
    import pytest

    from airflow_provider_modelarts.emulator import Emulator


class Alarm:
    """Sounds once, with the answer to a request; the emulator answers nothing until it has struck.

    The Airflow task must have an ``execution_timeout``, of whatever length.

    :param method: of the requests that are counted
    :param path_part: in their path
    :param after: with the answer to how many of them
    """

    def __init__(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, method: str, path_part: str, after: int
    ) -> None:
        struck = threading.Event()
        handle = TimeoutPosix.handle_timeout

        def handled(self: TimeoutPosix, *args: Any) -> None:
            struck.set()
            handle(self, *args)

        monkeypatch.setattr(TimeoutPosix, "handle_timeout", handled)

        def sound() -> None:
            os.kill(os.getpid(), signal.SIGALRM)
            assert struck.wait(30)

        self._sounding = Once(emulator, method, path_part, after, sound)

    @property
    def has_sounded(self) -> bool:
        return self._sounding.done
