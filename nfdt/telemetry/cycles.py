"""How a worker spent its time: what it computed, and what it waited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from nfdt.protocol.events import Event


class Cycles(NamedTuple):
    """How a worker spent its time with one group, in seconds."""

    events: int = 0  # pushes, and steps of its own
    compute_s: float = 0.0
    exchange_s: float = 0.0  # with what the server made it wait
    first_s: float = 0.0  # when the first was applied
    last_s: float = 0.0

    def after(self, event: Event) -> Cycles:
        """Returns the sums with one more event.

        The first one counts for no time: what is before it is the start, in which data
        are read and the step is traced.
        """
        if not self.events:
            return Cycles(1, first_s=event.time_s, last_s=event.time_s)
        return Cycles(
            self.events + 1,
            self.compute_s + event.compute_s,
            self.exchange_s + event.exchange_s,
            min(self.first_s, event.time_s),
            max(self.last_s, event.time_s),
        )

    @property
    def total_s(self) -> float:
        """All its time."""
        return self.compute_s + self.exchange_s


def time_of_all_s(groups: Iterable[Cycles]) -> float:
    """Returns a worker's time with several groups.

    Of groups that are trained in turn, step by step, the computations of one span the
    exchanges of the others: the longest is the time of all. Of groups that are trained
    one after the other, in a fit each, times add up.
    """
    whole_s = longest_s = 0.0
    until_s = float("-inf")
    for one in sorted(groups, key=lambda one: one.first_s):
        if one.first_s > until_s:
            whole_s, longest_s = whole_s + longest_s, 0.0
        until_s = max(until_s, one.last_s)
        longest_s = max(longest_s, one.total_s)
    return whole_s + longest_s
