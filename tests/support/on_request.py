"""What happens once, when a certain request has been carried out: any act, or Airflow's alarm."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.timeout import TimeoutPosix

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from airflow_provider_modelarts.emulator import Emulator


class OnRequest:
    """Acts once, when a certain request has been carried out; its answer goes out after that.

    :param method: of the requests that are counted
    :param path_part: in their path
    :param number: which of them it is, the first is 1
    :param act: what to do, in the thread of the emulator that answers
    """

    def __init__(self, emulator: Emulator, method: str, path_part: str, number: int, act: Callable[[], object]) -> None:
        self.done = False

        def observe(record: Any) -> None:
            if self.done or record.method != method or path_part not in record.path:
                return
            if emulator.journal.count(method, path_part) >= number:
                self.done = True
                act()

        emulator.observers.append(observe)


class AlarmOnRequest:
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

        self._sounding = OnRequest(emulator, method, path_part, after, sound)

    @property
    def has_sounded(self) -> bool:
        return self._sounding.done
