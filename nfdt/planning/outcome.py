"""The outcome of a simulated run, read from its trace, and the best of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fdtcore.telemetry.words import percent
from nfdt.telemetry.summary import Summary
from nfdt.telemetry.timeline import smooth
from nfdt.telemetry.trace import Trace

_SMOOTHED = 40  # a running mean goes over this part of all pushes
_LEAST_SMOOTHED = 9
_ALIKE = 1.05  # times that differ by less are no reason to choose
_LEARNED = 0.9  # of the first loss; above it a run has not learned
_KEPT = 1.1  # a loss that ends above the target by more has been lost again


class ComparisonRow(NamedTuple):
    """One row of a comparison."""

    name: str
    times_s: np.ndarray  # [n], of the pushes
    losses: np.ndarray  # [n], their running mean
    summary: Summary
    waited: float  # mean share of the workers
    problem: str = ""  # why it has ended early

    @property
    def final_loss(self) -> float:
        """The running mean at its end; NaN without a push."""
        return float(self.losses[-1]) if len(self.losses) else math.nan

    @property
    def duration_s(self) -> float:
        """The cluster's time, seconds."""
        return float(self.times_s[-1]) if len(self.times_s) else 0.0

    def reaches_s(self, target: float) -> float:
        """Returns when the loss is first at or below a target; infinity for never."""
        below = np.flatnonzero(self.losses <= target)
        return float(self.times_s[below[0]]) if len(below) else math.inf

    def keeps(self, target: float) -> bool:
        """Whether a target is reached, and not lost again."""
        is_sound = not self.problem and self.final_loss <= _KEPT * target
        return is_sound and self.reaches_s(target) < math.inf


def outcome(name: str, trace: Trace, problem: str = "") -> ComparisonRow:
    """Reads a row from a trace."""
    events = sorted(trace.events, key=lambda event: event.time_s)
    summary = Summary()
    summary.add(events)
    shares = [s for w in summary.workers if (s := summary.waited(w)) is not None]
    losses = np.array([event.loss for event in events])
    width = max(_LEAST_SMOOTHED, len(losses) // _SMOOTHED)
    return ComparisonRow(
        name,
        np.array([event.time_s for event in events]),
        smooth(losses, width) if len(losses) else losses,
        summary,
        float(np.mean(shares)) if shares else math.nan,
        problem,
    )


def common_target(outcomes: Sequence[ComparisonRow]) -> float:
    """Returns a loss that at least half of the runs that have learned have reached."""
    finite = [o for o in outcomes if not o.problem and math.isfinite(o.final_loss)]
    learned = [o for o in finite if o.final_loss <= _LEARNED * o.losses[0]]
    final = [o.final_loss for o in learned or finite]
    return float(np.quantile(final, 0.5, method="higher")) if final else math.nan


def best(outcomes: Sequence[ComparisonRow], target: float) -> ComparisonRow | None:
    """Returns the run that reaches a target first; of equals the lowest at its end."""
    sound = [o for o in outcomes if o.keeps(target)]
    if not sound:
        return None
    first_s = min(o.reaches_s(target) for o in sound)
    alike = [o for o in sound if o.reaches_s(target) <= _ALIKE * first_s]
    return min(alike, key=lambda o: o.final_loss)


def table(outcomes: Sequence[ComparisonRow], target: float) -> str:
    """Returns the rows, by the time in which they reach the target."""
    head = (
        f"{'algorithm / consistency':26}{f'loss {target:.3g} in':>14}{'last loss':>11}"
        f"{'whole run':>11}{'waited':>8}{'staleness':>11}{'updates/s':>11}"
    )
    return "\n".join([head, *(_row(o, target) for o in ordered(outcomes, target))])


def ordered(outcomes: Sequence[ComparisonRow], target: float) -> list[ComparisonRow]:
    """Returns the runs, the best first."""
    return sorted(
        outcomes, key=lambda o: (not o.keeps(target), o.reaches_s(target), o.final_loss)
    )


def recommendation(outcomes: Sequence[ComparisonRow], target: float) -> str:
    """Returns which one to take, and why."""
    chosen = best(outcomes, target)
    if chosen is None:
        return "recommended  none: no run has reached the target. Lower the rate."
    others = [o for o in outcomes if o is not chosen]
    reached = [o for o in others if o.keeps(target)]
    text = f"{chosen.name}: loss {target:.3g} in {_time(chosen.reaches_s(target))}"
    if reached:
        next_ = min(reached, key=lambda o: o.reaches_s(target))
        slowest = max(reached, key=lambda o: o.reaches_s(target))
        text += f", {_times(chosen, next_, target)}"
        if slowest is not next_:
            text += f" and {_times(chosen, slowest, target)}"
    if len(reached) < len(others):
        text += f"; {len(others) - len(reached)} do not reach it, or do not stay there"
    if not math.isnan(chosen.waited):
        text += f". Its workers wait {percent(chosen.waited)} of their time"
    return f"recommended  {text}."


def _times(chosen: ComparisonRow, other: ComparisonRow, target: float) -> str:
    ratio = other.reaches_s(target) / max(chosen.reaches_s(target), 1e-12)
    return f"{ratio:.2f} times as fast as {other.name}"


def _row(found: ComparisonRow, target: float) -> str:
    if found.problem:
        return f"{found.name:26}{'failed':>14}  {found.problem}"
    reaches_s = found.reaches_s(target)
    reached = "never" if math.isinf(reaches_s) else _time(reaches_s)
    if reaches_s < math.inf and not found.keeps(target):
        reached = "lost again"
    waited = "-" if math.isnan(found.waited) else percent(found.waited)
    speed = found.summary.updates_per_s
    return (
        f"{found.name:26}{reached:>14}{found.final_loss:>11.4f}"
        f"{_time(found.duration_s):>11}{waited:>8}"
        f"{found.summary.mean_staleness:>11.1f}{speed or math.nan:>11.1f}"
    )


def _time(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.1f} min"
