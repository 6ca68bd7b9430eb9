"""What is wanted of jobs on hosts, and how what was measured compares with it."""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.hosts.jobs import FAST, SLOW
from benchmarks.hosts.measurement import HostRound
from benchmarks.ratios import Spread, paired_ratios, spread


class Target(NamedTuple):
    """The ratio of two jobs, and what is wanted of it."""

    job: str
    reference: str  # the job that it is divided by
    rate: int | None  # speed over links of so many Mbit/s; None: time until the start
    bound: float | None  # None: nothing is wanted

    @property
    def quantity(self) -> str:
        """What is compared, in words."""
        if self.rate is None:
            return "time to the first step"
        return f"speed at {self.rate} Mbit/s" if self.rate else "speed on one host"


class Row(NamedTuple):
    """One target beside what was measured."""

    target: Target
    values: tuple[float, ...]  # of each round

    @property
    def found(self) -> Spread:
        """Median, least and greatest."""
        return spread(self.values)

    @property
    def verdict(self) -> str:
        """Say whether the median keeps the bound: "reached", "missed" or "-"."""
        bound, is_most = self.target.bound, self.target.rate is None
        if bound is None:
            return "-"
        median = self.found.median
        is_kept = median <= bound if is_most else median >= bound
        return "reached" if is_kept else "missed"


def _narrow(rate: int, bound: float | None) -> list[Target]:
    pairs = [(f"{p}-{n}", f"{p}-{n}-16-bit") for p in ("hfdt", "nfdt") for n in (3, 2)]
    return [Target(narrow, dense, rate, bound) for dense, narrow in pairs]


TARGETS: Sequence[Target] = (
    *_narrow(SLOW, 1.7),
    *_narrow(FAST, None),
    Target("hfdt-3", "hfdt-3-own-choice", SLOW, 2.2),
    Target("hfdt-3", "hfdt-3-own-choice", FAST, None),
    *(Target("hfdt-2-dgc", "hfdt-2", *wanted) for wanted in ((SLOW, 4.0), (FAST, 5.0))),
    *(Target("hfdt-2-topk", "hfdt-2", rate, None) for rate in (SLOW, FAST)),
    Target("hfdt-1", "hfdt-1-own-choice", 0, 0.97),
    *(Target(f"{p}-{n}", f"{p}-1", None, 1.5) for p in ("hfdt", "nfdt") for n in (3,)),
)


def rows(rounds: Sequence[HostRound]) -> list[Row]:
    """Return a row for every target whose two jobs ran in one round."""
    found = []
    for target in TARGETS:
        measured = [_of_round(one, target.rate) for one in rounds]
        values = paired_ratios(measured, target.job, target.reference)
        if values:
            found.append(Row(target, tuple(values)))
    return found


def _of_round(one: HostRound, rate: int | None) -> dict[str, float]:
    if rate is None:
        return {name: found.start_s for name, found in one.jobs.items()}
    return {
        name: found.updates_per_s[rate]
        for name, found in one.jobs.items()
        if rate in found.updates_per_s
    }
