"""Which proposals are drawn for the audit: by a seeded hash of their ids, before anybody looks. Pure."""

from __future__ import annotations

from hashlib import sha256
from heapq import heappush, heappushpop

_PLACES = 2**64


def place_in_draw(seed: str, sample_id: str) -> int:
    """Return where a sample stands in a draw, from 0 to 2**64; it depends on seed and id alone."""
    drawn = sha256(f"{seed}:{sample_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(drawn[:8])


def is_in_share(share: float, seed: str, sample_id: str) -> bool:
    """Whether a sample is drawn where a share of all is."""
    return bool(share) and place_in_draw(seed, sample_id) < share * _PLACES


class SizedDraw:
    """A draw of so many samples for each first label: those that come first in it. All must be added before it counts.

    :param size: samples for each label
    :param seed: of the draw
    """

    def __init__(self, size: int, seed: str) -> None:
        self._size = size
        self._seed = seed
        self._first: dict[str, list[tuple[int, str]]] = {}

    def add(self, label: str, sample_id: str) -> None:
        """Let a sample take part.

        :param label: its first label
        """
        first = self._first.setdefault(label, [])
        entry = (-place_in_draw(self._seed, sample_id), sample_id)
        if len(first) < self._size:
            heappush(first, entry)
        else:
            heappushpop(first, entry)

    def drawn(self) -> set[str]:
        """Return the ids of those that are drawn."""
        return {sample_id for first in self._first.values() for _, sample_id in first}
