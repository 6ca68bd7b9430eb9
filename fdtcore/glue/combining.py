"""The relation between a value of a batch and the values of its parts.

With shares s_p of the samples (which sum to 1) and values v_p of the parts, a mean
over samples is ``sum_p s_p v_p`` and a sum over samples ``sum_p v_p``. A value that is
neither compares samples, or divides by what it counts in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAMPLES = "samples"  # one value for each sample: nothing is reduced yet
MEAN = "mean"
SUM = "sum"
OTHER = "other"
UNKNOWN = "unknown"  # too few samples to see it, zeros, or it is drawn anew each time


def kind(
    parts: Sequence[np.ndarray],
    shares: Sequence[float],
    whole: np.ndarray,
    again: np.ndarray,
    tolerance: float,
) -> str:
    """Returns what the value of a batch is of the values of its parts.

    Args:
        parts: Value of each part, all of one shape.
        shares: Each part's share of the samples.
        whole: Value of the batch.
        again: The same, computed once more: it differs where it is drawn at random.
        tolerance: Relative error that counts as none.
    """
    whole, again = np.asarray(whole, float), np.asarray(again, float)
    values = [np.asarray(v, float) for v in parts]
    if any(v.shape != whole.shape for v in [*values, again]):
        return OTHER
    size = max(map(np.linalg.norm, map(np.ravel, [whole, *values])))
    if not np.isfinite(size) or size == 0:
        return UNKNOWN
    to_mean = _distance(whole, np.tensordot(shares, values, 1))
    to_sum = _distance(whole, np.sum(values, 0))
    if _distance(whole, again) > tolerance / 4 * size:
        return SUM if 4 * to_sum < to_mean else UNKNOWN
    fits = [to_mean <= tolerance * size, to_sum <= tolerance * size]
    return {(1, 1): UNKNOWN, (1, 0): MEAN, (0, 1): SUM, (0, 0): OTHER}[tuple(fits)]


def agreed(kinds: Sequence[str]) -> str:
    """Returns what several ranks or uses come to together."""
    found = set(kinds) - {UNKNOWN}
    if not found:
        return UNKNOWN
    return found.pop() if len(found) == 1 else OTHER


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(np.ravel(a - b)))
