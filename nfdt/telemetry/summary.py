"""The lines at the end of a run, computed push by push in little memory.

Pure: the server process adds its events and hands the result on as JSON.

How a worker spent its time: what it computed, and what it waited.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from fdtcore.telemetry.words import grouped, percent
from nfdt.protocol.events import Event, Use
from nfdt.protocol.step_times import TimeShares


class Cycles(NamedTuple):
    """How a worker spent its time with one group, in seconds."""

    events: int = 0  # pushes, and local steps
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


class Traffic(NamedTuple):
    """Bytes of vectors of which a part was sent."""

    sent: int = 0
    whole: int = 0  # of the same vectors, had they been sent as they are

    def more(self, sent: int, whole: int) -> Traffic:
        """Returns it with one more vector."""
        return Traffic(self.sent + sent, self.whole + whole)

    def line(self) -> str:
        """Says which part was sent."""
        return f"1/{self.whole / self.sent:.3g}" if self.sent else "none"


_NAMED_WORKERS = 4  # more would not fit in a line, each with its share


class Summary:
    """Updates a second, staleness and lead, and each worker's share of waiting.

    With n updates of which the first was applied at t_1 and the last at t_n::

        updates/s = (n - 1) / (t_n - t_1)
        waited    = exchange / (compute + exchange)

    where exchange is all the time from sending a gradient to having parameters; of
    several groups the exchanges are added up (see :func:`time_of_all_s`).
    """

    def __init__(self) -> None:
        self.staleness: dict[int, int] = {}  # staleness -> pushes that had it
        self.workers: dict[int, dict[int, Cycles]] = {}  # worker -> group -> time
        self.uses: dict[int, dict[int, int]] = {}  # worker -> Use -> pushes or steps
        self.times: dict[int, TimeShares] = {}  # worker -> where its steps' time went
        self.pushed, self.answered = Traffic(), Traffic()  # where parts are sent
        self._leads: dict[int, int] = {}  # Use -> highest lead
        self._versions: dict[int, tuple[int, int]] = {}  # group -> first and last
        self._times_s: tuple[float, float] | None = None  # of first and last update

    def add(self, events: Iterable[Event]) -> None:
        """Takes in pushes and steps, in any order."""
        for event in events:
            groups = self.workers.setdefault(event.worker, {})
            groups[event.group] = groups.get(event.group, Cycles()).after(event)
            uses = self.uses.setdefault(event.worker, {})
            uses[event.use] = uses.get(event.use, 0) + 1
            self._leads[event.use] = max(event.lead, self._leads.get(event.use, 0))
            if event.use == Use.UPDATE:
                self._add_update(event)

    def _add_update(self, event: Event) -> None:
        self.staleness[event.staleness] = self.staleness.get(event.staleness, 0) + 1
        version, time_s = event.version, event.time_s
        low, high = self._versions.get(event.group, (version, version))
        self._versions[event.group] = min(low, version), max(high, version)
        first_s, last_s = self._times_s or (time_s, time_s)
        self._times_s = min(first_s, time_s), max(last_s, time_s)

    @property
    def updates(self) -> int:
        """Updates of all groups; several pushes may be one."""
        return sum(high - low + 1 for low, high in self._versions.values())

    @property
    def pushes(self) -> int:
        """Gradients that were used."""
        return sum(self.staleness.values())

    @property
    def duration_s(self) -> float:
        """Time from the first update to the last."""
        first_s, last_s = self._times_s or (0.0, 0.0)
        return last_s - first_s

    @property
    def updates_per_s(self) -> float | None:
        """Mean speed; None where there is no time between two updates."""
        return (self.updates - 1) / self.duration_s if self.duration_s > 0 else None

    @property
    def mean_staleness(self) -> float:
        """Mean over all pushes; 0 without any."""
        total = sum(value * count for value, count in self.staleness.items())
        return total / self.pushes if self.pushes else 0.0

    @property
    def dropped(self) -> int:
        """Gradients that came too late, and were used for nothing."""
        return self._total(Use.DROPPED)

    @property
    def own_steps(self) -> int:
        """Steps that workers made by themselves."""
        return self._total(Use.OWN)

    @property
    def max_lead(self) -> int:
        """Highest lead over the slowest worker, in the steps that workers report."""
        if Use.OWN in self._leads:  # then a push is of many
            return self._leads[Use.OWN]
        return max(self._leads.values(), default=0)

    def pushes_of(self, worker: int) -> int:
        """Returns how many gradients a worker gave."""
        uses = self.uses.get(worker, {})
        return uses.get(Use.UPDATE, 0) + uses.get(Use.DROPPED, 0)

    def dropped_of(self, worker: int) -> int:
        """Returns how many gradients of a worker were dropped."""
        return self.uses.get(worker, {}).get(Use.DROPPED, 0)

    def steps_of(self, worker: int) -> int:
        """Returns how many local steps a worker made."""
        return self.uses.get(worker, {}).get(Use.OWN, 0)

    def _total(self, use: Use) -> int:
        return sum(uses.get(use, 0) for uses in self.uses.values())

    def waited(self, worker: int) -> float | None:
        """Returns a worker's share of waiting; None before its second push."""
        groups = self.workers.get(worker, {}).values()
        total_s = time_of_all_s(groups)
        if total_s <= 0:
            return None
        return min(1.0, sum(one.exchange_s for one in groups) / total_s)

    def staleness_below(self, share: float) -> int:
        """Returns the least staleness that at least this share of pushes kept within.

        Args:
            share: Fraction of all pushes, in (0, 1].
        """
        seen = 0
        for value in sorted(self.staleness):
            seen += self.staleness[value]
            if seen >= share * self.pushes:
                return value
        return 0

    def lines(self) -> list[str]:
        """Returns the lines for the end of a run."""
        updates = f"{grouped(self.updates)} in {self.duration_s:.1f} s"
        if self.updates_per_s is not None:
            updates += f": {self.updates_per_s:.1f} updates/s"
        if self.own_steps:
            updates += f"; {grouped(self.own_steps)} local steps of the workers"
        if self.dropped:
            updates += f"; {grouped(self.dropped)} late gradients dropped"
        staleness = (
            f"mean {self.mean_staleness:.1f}, 95 % {self.staleness_below(0.95)}, "
            f"max {max(self.staleness, default=0)}; lead max {self.max_lead}"
        )
        lines = [
            f"updates    {updates}",
            f"staleness  {staleness}",
            f"waiting    {self._waiting()}",
        ]
        mean = TimeShares.mean(self.times.values())
        if mean.steps:
            lines.append(f"a step     {mean.line()}")
        if self.pushed.whole:
            parts = f"gradients {self.pushed.line()}, parameters {self.answered.line()}"
            lines.append(f"wire       {parts} of the bytes of whole ones")
        return lines

    def to_json(self) -> str:
        """Returns what :meth:`from_json` makes the same summary of."""
        return json.dumps(
            {
                "staleness": self.staleness,
                "workers": self.workers,
                "uses": self.uses,
                "times": self.times,
                "pushed": self.pushed,
                "answered": self.answered,
                "leads": self._leads,
                "versions": self._versions,
                "times_s": self._times_s,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Summary:
        """Returns the summary that was handed on."""
        found = json.loads(text)
        self = cls()
        self.staleness = {int(k): v for k, v in found["staleness"].items()}
        self.workers = {
            int(worker): {int(group): Cycles(*sums) for group, sums in groups.items()}
            for worker, groups in found["workers"].items()
        }
        self.uses = {
            int(worker): {int(use): count for use, count in uses.items()}
            for worker, uses in found["uses"].items()
        }
        self.times = {int(w): TimeShares(*t) for w, t in found["times"].items()}
        self.pushed = Traffic(*found["pushed"])
        self.answered = Traffic(*found["answered"])
        self._leads = {int(use): lead for use, lead in found["leads"].items()}
        self._versions = {int(k): (v[0], v[1]) for k, v in found["versions"].items()}
        self._times_s = tuple(found["times_s"]) if found["times_s"] else None
        return self

    def _waiting(self) -> str:
        found = {worker: self.waited(worker) for worker in sorted(self.workers)}
        shares = {worker: share for worker, share in found.items() if share is not None}
        if not shares:
            return "not known: no worker has pushed twice"
        if len(shares) <= _NAMED_WORKERS:
            return ", ".join(f"worker {w} {percent(s):>4}" for w, s in shares.items())
        least, *_, most = sorted(shares, key=shares.__getitem__)
        median = statistics.median(shares.values())
        return (
            f"{len(shares)} workers: median {percent(median)}"
            f", least {percent(shares[least])} (worker {least})"
            f", most {percent(shares[most])} (worker {most})"
        )
