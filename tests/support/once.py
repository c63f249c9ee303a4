"""Something that happens once, in the middle of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator


class Once:
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
