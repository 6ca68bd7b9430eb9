"""How far the workers' speeds lie apart, and what DSP makes of it. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable


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
        factor: alpha, >= 1.
        weak: w_0, the weak threshold at equal speeds.
        stale_bounds: s_min and s_max.

    Returns:
        s and w.
    """
    least, most = stale_bounds
    lead = max(factor - 1, 0.0) * weak
    stale = max(least, 1 + round(min(lead, most)))
    fitting = weak if lead <= most else max(1, math.floor(most * weak / lead))
    return min(stale, most), fitting
