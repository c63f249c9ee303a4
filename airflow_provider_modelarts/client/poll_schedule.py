"""How often a labeling task is asked for: the schedule of polls that client, operator, sensor and trigger share.

Pure: no request, no sleep, no clock. ``client/waiting.py`` says what the answers mean; ``utils/polling.py`` asks and
sleeps.
"""

from __future__ import annotations

import random

EARLY_GAPS = ((10.0, 5.0), (60.0, 9.0))
"""Seconds between polls at the beginning of a wait: until so many seconds after it, a poll every so many seconds.

After that, and wherever it is shorter, ``poll_interval`` counts. Most labeling tasks of small datasets end within a
minute; with these gaps, jitter included, their end is noticed within 10 s. A long wait sends six requests more.
"""

JITTER = 0.1
"""Share of an interval that is added at random, so that a thousand waits do not poll in the same second."""

RESUMED_WITHIN = 30.0
"""Seconds within which a wait that goes on in a new process polls, if its ``poll_interval`` is longer."""

LONGEST = 5 * 365 * 86400.0
"""The longest wait, in seconds: its end is a moment that clocks and databases can still store."""

ODD_ANSWERS = 5
"""Permanent errors in a row after which a wait for one's own labeling task ends.

Whoever started a labeling task knows that it exists. One "not found" right after the start, or one "forbidden" from a
gateway, proves nothing; to believe it would leave the labeling task behind.
"""

ODD_PAUSES = (0.0, *(EARLY_GAPS[0][1] for _ in range(ODD_ANSWERS - 1)))
"""Seconds before each poll of a caller that does not wait, but must know whether its labeling task still exists."""


class PollSchedule:
    """The pauses between the polls of one wait; none goes beyond the deadline.

    :param seed: text from which the jitter comes
    :param deadline: epoch seconds at which the wait ends
    :param poll_interval: seconds between polls after the early ones
    :param started: epoch seconds at which the wait began, in whatever process; None: at its first call
    """

    def __init__(self, seed: str, *, deadline: float, poll_interval: float = 30, started: float | None = None) -> None:
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.started = started
        self._random = random.Random(seed)  # noqa: S311 - scatters polls, protects nothing

    def first_pause(self, now: float, not_before: float | None = None) -> float:
        """Return the seconds until the first poll of this process.

        Nobody knows when another process polled last, only how often it did. So this poll comes at a random moment of
        the gap in which it was due, and the waits of a restarted triggerer do not all poll in the same second.

        :param now: epoch seconds
        :param not_before: epoch seconds of the first poll, if another process knew; a moment in the past has no effect
        """
        elapsed = self._elapsed(now)
        if not_before is not None and not_before > now:
            # The machine that wrote both may be ahead of this one.
            return self._within(min(not_before - now, not_before - (self.started or now)), now)
        until_first = self._gap(0.0) - elapsed
        if until_first > 0:
            return self._within(until_first, now)
        return self._within(self._random.uniform(0, min(self._gap(elapsed), RESUMED_WITHIN)), now)

    def next_pause(self, now: float, at_least: float = 0.0) -> float:
        """Return the seconds from a poll to the next one.

        :param now: epoch seconds
        :param at_least: seconds for which the service wants to be left alone
        """
        return self._within(max(self._gap(self._elapsed(now)), at_least), now)

    def _within(self, seconds: float, now: float) -> float:
        return max(0.0, min(seconds, self.deadline - now, LONGEST))

    def _elapsed(self, now: float) -> float:
        if self.started is None:
            self.started = now
        # The machine on which the wait began may be ahead of this one.
        return max(0.0, now - self.started)

    def _gap(self, elapsed: float) -> float:
        """Return the seconds from a poll, so many seconds after the beginning, to the next one."""
        early = next((gap for until, gap in EARLY_GAPS if elapsed < until), self.poll_interval)
        return min(early, self.poll_interval) * (1 + self._random.uniform(0, JITTER))
