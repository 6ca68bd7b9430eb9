"""Dynamic barriers after local steps: DSP.

How far the workers' speeds lie apart, and what DSP makes of it. Pure arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from fdtcore.validation import demand, is_count
from nfdt.protocol.controllers.barriers import all_are_in
from nfdt.protocol.controllers.decisions import Controller, Decision, Ledger
from nfdt.protocol.events import BARRIER


def performance_factor(speeds: Iterable[float]) -> float:
    """Returns alpha >= 1, the ratio of the fastest speed to the slowest.

    Args:
        speeds: Steps per second of each worker that is known; 1 without two of them.
    """
    known = [speed for speed in speeds if speed > 0 and math.isfinite(speed)]
    return max(known) / min(known) if known else 1.0


def set_anew(
    factor: float, *, weak: int, stale_bounds: tuple[int, int]
) -> tuple[int, int]:
    """Returns the stale and the weak threshold for a performance factor.

    While the slowest makes w steps the fastest makes alpha * w, so that it comes to
    lead by (alpha - 1) * w. The stale threshold leaves room for that lead; where it
    must not grow so far, the weak threshold is lowered::

        s = clip(1 + round((alpha - 1) * w_0), s_min, s_max)
        w = clip(floor(s_max / (alpha - 1)), 1, w_0)

    So s grows with the distance between the speeds, as the paper asks; which function
    of alpha it is, the paper leaves open, and this one is ours.

    Args:
        factor: Performance factor alpha >= 1: fastest speed over slowest.
        weak: w_0, the weak threshold at equal speeds.
        stale_bounds: s_min and s_max, the range of the stale threshold, steps.

    Returns:
        s and w.
    """
    least, most = stale_bounds
    lead = max(factor - 1, 0.0) * weak
    stale = max(least, 1 + round(min(lead, most)))
    fitting = weak if lead <= most else max(1, math.floor(most * weak / lead))
    return min(stale, most), fitting


# Why a barrier is on.
WEAK, STALE, EARLY = "weak", "stale", "early"


class BarrierInterval(NamedTuple):
    """The time between two barriers, and the second of them."""

    stale: int  # s: the barrier comes when the fastest leads by so many steps
    weak: int  # w: ... or when the slowest has made so many
    factor: float = 1.0  # alpha, when two speeds were known last
    cause: str = ""  # why the barrier is on; empty while it is not


@dataclass(frozen=True)
class DynamicSynchronous(Controller):
    """Workers train copies of their own until a barrier adds up what they did (DSP).

    A barrier comes when, counted from the last one, the slowest active worker has made
    ``weak`` steps (w), the fastest leads the slowest by ``stale`` steps (s), or a
    worker has submitted early, at the end of its epoch. Each worker then finishes the
    step it is in and submits its accumulated update, and from all of them::

        M = M0 + sum of the updates

    All are released, counts begin anew, and s and w are set anew from the performance
    factor: see :func:`nfdt.protocol.controllers.dynamic.set_anew`.

    Args:
        stale: s until the first barrier, >= 1.
        weak: w at equal speeds, >= 1.
        stale_min: Lowest s that the factor may set.
        stale_max: Highest s that the factor may set.
        fixed: Whether s and w stay as they are, and nothing is monitored.

    Raises:
        ValueError: A threshold is no such integer, or the bounds do not hold s.

    Source: Zhang, Tu et al., "Dynamic Synchronous Parallel", Sensors 2017, 17(10):2172.
    Submitting early at the end of an epoch is ours.
    """

    stale: int = 3
    weak: int = 1
    stale_min: int = 1
    stale_max: int = 10
    fixed: bool = False
    paces: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("stale", "weak", "stale_min"):
            demand(
                is_count(getattr(self, name), at_least=1),
                f"{name} must be an integer >= 1",
                "Use 3 for stale (s), 1 for weak (w) and stale_min (s_min).",
                **{name: getattr(self, name)},
            )
        demand(
            is_count(self.stale_max, at_least=self.stale)
            and self.stale_min <= self.stale,
            "stale_min <= stale <= stale_max must hold",
            "Move stale (s), or its bounds stale_min (s_min) and stale_max (s_max).",
            stale=self.stale,
            stale_min=self.stale_min,
            stale_max=self.stale_max,
        )

    @property
    def monitors(self) -> bool:
        """Whether workers measure themselves and their machines."""
        return not self.fixed

    def init(self, num_workers: int) -> BarrierInterval:
        """The thresholds at the start."""
        del num_workers
        return BarrierInterval(self.stale, self.weak)

    def decide(
        self, ledger: Ledger, state: BarrierInterval, *, now_s: float
    ) -> tuple[Decision, BarrierInterval]:
        """Lets workers go on until a barrier is due; holds it until all are in."""
        del now_s  # DSP counts steps, not seconds
        interval = state._replace(cause=state.cause or _cause(ledger, state))
        if not interval.cause:
            return Decision((), ()), interval
        if not (ledger.held and all_are_in(ledger)):
            return Decision((), (), submit=ledger.asking), interval
        return self._end(ledger, interval)

    def _end(
        self, ledger: Ledger, interval: BarrierInterval
    ) -> tuple[Decision, BarrierInterval]:
        """Ends a barrier: everybody's update is in."""
        speeds = [s for w, s in ledger.speeds.items() if w in ledger.clocks]
        following = interval._replace(cause="")
        if len(speeds) > 1 and not self.fixed:
            factor = performance_factor(speeds)
            bounds = (self.stale_min, self.stale_max)
            thresholds = set_anew(factor, weak=self.weak, stale_bounds=bounds)
            following = BarrierInterval(*thresholds, factor)
        note = {"kind": BARRIER, **following._asdict(), "cause": interval.cause}
        decision = Decision(ledger.held, ledger.waiting, adds_up=True, note=note)
        return decision, following


def _cause(ledger: Ledger, interval: BarrierInterval) -> str:
    """Returns why a barrier is due; empty where it is not."""
    if ledger.held:
        return EARLY
    steps = [ledger.steps.get(worker, 0) for worker in ledger.clocks]
    if not steps:
        return ""
    if min(steps) >= interval.weak:
        return WEAK
    return STALE if max(steps) - min(steps) >= interval.stale else ""
