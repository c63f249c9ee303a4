"""What was asked and what was answered, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload


@dataclass(frozen=True, slots=True)
class Record:
    """One exchange.

    :param path: decoded path without the query.
    :param query: decoded query.
    :param headers: request headers, lower-case names. They hold the credentials that were sent, on purpose: a test
        proves with them that a secret was used. Hence the short `repr`.
    :param body: request body as it arrived.
    :param status: HTTP status of the answer; 0 when the connection was reset instead.
    :param response: body of the answer as it was made, before an injected fault cut it short.
    :param time: epoch seconds of the emulator's clock.
    :param fault: kind of the injected fault that fired, or None.
    :param request_id: value of X-Request-Id.
    :param response_headers: headers of the answer, lower-case names.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    status: int
    response: bytes
    time: float
    fault: str | None
    request_id: str
    response_headers: Mapping[str, str]

    def __repr__(self) -> str:
        """Name the exchange without anything secret (contract 10, row "Never")."""
        fault = f" fault={self.fault}" if self.fault else ""
        return f"<{self.method} {self.path} -> {self.status}{fault}>"


class Journal(Sequence[Record]):
    """The exchanges so far, oldest first; a sequence of :class:`Record`.

    :param keep_bodies: whether bodies are kept. A load test turns this off; counts and statuses stay.
    """

    def __init__(self, *, keep_bodies: bool = True) -> None:
        self.keep_bodies = keep_bodies
        self._records: list[Record] = []
        self._lock = threading.Lock()

    def append(self, record: Record) -> None:
        """Add an exchange."""
        with self._lock:
            self._records.append(record)

    def clear(self) -> None:
        """Forget everything so far."""
        with self._lock:
            self._records.clear()

    def select(
        self, method: str | None = None, path_part: str = "", *, match: Callable[[Record], bool] | None = None
    ) -> list[Record]:
        """Return the exchanges of one kind.

        :param method: HTTP method; None for any.
        :param path_part: text that the path contains.
        :param match: further condition.
        """
        with self._lock:
            records = list(self._records)
        return [
            record
            for record in records
            if method in (None, record.method) and path_part in record.path and (match is None or match(record))
        ]

    def count(self, method: str | None = None, path_part: str = "") -> int:
        """Return how many exchanges there were of one kind; see :meth:`select`."""
        return len(self.select(method, path_part))

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        return self._records[index]

    def __iter__(self) -> Iterator[Record]:
        with self._lock:
            return iter(list(self._records))
