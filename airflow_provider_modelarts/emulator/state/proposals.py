"""The machine's proposals: ordered, filtered, paged, and cheap to remove at any size."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
MAX_VIEWS = 64
_SEQUENCE = attrgetter("sequence")


@dataclass(slots=True, eq=False)
class Proposal:
    """One sample awaiting confirmation.

    :param sequence: place in the list; newer is higher (contract 12: "Auto list sort key: newest first").
    :param fragment: the sample as JSON, exactly as it is served. Kept as bytes so that a page is a join.
    """

    sequence: int
    sample_id: str
    fragment: bytes

    def data(self) -> dict[str, Any]:
        """Return the sample as it is served."""
        value: dict[str, Any] = json.loads(self.fragment)
        return value


class OrderedProposals:
    """Proposals by sequence, in blocks: removing one and reading a page cost little at a million, too."""

    def __init__(self, proposals: list[Proposal]) -> None:
        self._blocks = [proposals[start : start + BLOCK] for start in range(0, len(proposals), BLOCK)]
        self._starts = [block[0].sequence for block in self._blocks]
        self._count = len(proposals)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Proposal]:
        for block in self._blocks:
            yield from block

    def remove(self, proposal: Proposal) -> None:
        """Take a proposal out, if it is there."""
        number = bisect_right(self._starts, proposal.sequence) - 1
        if number < 0:
            return
        block = self._blocks[number]
        position = bisect_left(block, proposal.sequence, key=_SEQUENCE)
        if position < len(block) and block[position] is proposal:
            del block[position]
            self._count -= 1

    def page(self, start: int, limit: int, *, newest_first: bool) -> list[Proposal]:
        """Return up to `limit` proposals from index `start` on, in the wanted order."""
        if start >= self._count:
            return []
        stop = min(start + limit, self._count)
        if newest_first:
            return self._slice(self._count - stop, self._count - start)[::-1]
        return self._slice(start, stop)

    def _slice(self, start: int, stop: int) -> list[Proposal]:
        found: list[Proposal] = []
        for block in self._blocks:
            size = len(block)
            if start < size:
                found.extend(block[max(start, 0) : stop])
            start -= size
            stop -= size
            if stop <= 0:
                break
        return found


class ProposalList:
    """All proposals of one dataset, oldest first, with a remembered view for each filter in use."""

    def __init__(self) -> None:
        self._by_sample: dict[str, Proposal] = {}
        self._all = OrderedProposals([])
        self._views: dict[Any, OrderedProposals] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._by_sample)

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._by_sample

    def __iter__(self) -> Iterator[Proposal]:
        return iter(self._all)

    def get(self, sample_id: str) -> Proposal | None:
        """Return the proposal of a sample, if there is one."""
        return self._by_sample.get(sample_id)

    def newest_first(self) -> list[Proposal]:
        """Return all of them in the order in which they are served by default."""
        return list(self._all)[::-1]

    def replace(self, fragments: list[tuple[str, bytes]], *, keep: bool = False) -> None:
        """Put new proposals in the place of the old ones (contract 12: "Old proposals: replaced on success").

        :param fragments: sample id and served JSON, oldest first.
        :param keep: add to the old ones instead.
        """
        proposals = list(self._all) if keep else []
        for sample_id, fragment in fragments:
            self._sequence += 1
            proposals.append(Proposal(self._sequence, sample_id, fragment))
        self._by_sample = {proposal.sample_id: proposal for proposal in proposals}
        self._all = OrderedProposals(proposals)
        self._views.clear()

    def discard(self, sample_id: str) -> None:
        """Take the proposal of a sample out of every view."""
        proposal = self._by_sample.pop(sample_id, None)
        if proposal is not None:
            self._all.remove(proposal)
            for view in self._views.values():
                view.remove(proposal)

    def select(self, key: Any, matches: Callable[[dict[str, Any]], bool] | None) -> OrderedProposals:
        """Return the proposals that a filter lets through.

        :param key: what identifies the filter; equal keys share one view.
        :param matches: decides about one served sample; None: all pass.
        """
        if matches is None:
            return self._all
        view = self._views.get(key)
        if view is None:
            while len(self._views) >= MAX_VIEWS:
                self._views.pop(next(iter(self._views)))
            view = OrderedProposals([proposal for proposal in self._all if matches(proposal.data())])
            self._views[key] = view
        return view
