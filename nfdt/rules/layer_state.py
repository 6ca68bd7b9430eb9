"""Counts and averages of several workers, merged to one value.

Between two meetings each worker changes a variable on its own batches. What it is shows
in how it changes: a schedule alike on all workers, by the same amount or by the same
factor at each step; an average of the data as the data are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
_ROUNDINGS = 4.0  # units in the last place, for each step


class Tally(NamedTuple):
    """One worker's steps since the last meeting, and what they made of a variable."""

    num_first: int  # steps of the first call; 1 <= num_first <= num_steps
    first: Values  # the variable's value after them
    num_steps: int  # all steps; 0 where the worker got no batch
    last: Values  # the value after them


class Merged(NamedTuple):
    """What :func:`merged` returns."""

    value: Values
    is_known: bool  # whether it is what one process, or an average, would have


def merged(base: Values, tallies: Sequence[Tally]) -> Merged:
    """Returns the value from which all workers go on.

    With b the value before, x_m that of worker m, and n_m its steps::

        x = b + sum_m (x_m - b)             counts, and what grows by a constant
        x = b prod_m (x_m / b)              what grows by a constant factor
        x = sum_m n_m x_m / sum_m n_m       averages of the data

    Args:
        base: The value at the last meeting, the same on all workers.
        tallies: Those of the workers.
    """
    active = [one for one in tallies if one.num_steps]
    if len(active) < 2:
        return Merged(active[0].last if active else base, True)
    if base.dtype == bool:
        return Merged(base ^ np.any([one.last != base for one in active], 0), True)
    if np.issubdtype(base.dtype, np.integer):
        if not all(_goes_one_way(base, one) for one in active):
            return Merged(active[0].last, False)
        return Merged(base + sum((one.last - base for one in active), 0 * base), True)
    start = base.astype(np.float64)
    lasts = [one.last.astype(np.float64) for one in active]
    if _is_schedule(base, active):
        if all(_is_near(_linear(start, one), one) for one in active):
            total = start + np.sum([last - start for last in lasts], 0)
            return Merged(total.astype(base.dtype), True)
        if np.all(start) and all(_is_near(_geometric(start, o), o) for o in active):
            product = start * np.prod([last / start for last in lasts], 0)
            return Merged(product.astype(base.dtype), True)
    weights = np.array([one.num_steps for one in active], np.float64)
    mean = np.tensordot(weights / weights.sum(), np.stack(lasts), 1)
    return Merged(mean.astype(base.dtype), not _is_schedule(base, active))


def _goes_one_way(base: Values, tally: Tally) -> bool:
    """Whether a count has grown on as it began; a position that starts over has not."""
    first, last = tally.first - base, tally.last - base
    return bool(np.all(last * np.sign(first) >= np.abs(first)))


def _is_schedule(base: Values, active: Sequence[Tally]) -> bool:
    """Whether the first steps changed a float alike, on whatever batches."""
    first = active[0]
    alike = all(
        one.num_first == first.num_first and np.array_equal(one.first, first.first)
        for one in active
    )
    return alike and not np.array_equal(first.first, base)


def _linear(start: Values, tally: Tally) -> Values:
    change: Values = (tally.first - start) / tally.num_first
    found: Values = start + tally.num_steps * change
    return found


def _geometric(start: Values, tally: Tally) -> Values:
    whole: Values = np.abs(tally.first / start) ** (tally.num_steps / tally.num_first)
    return start * whole


def _is_near(expected: Values, tally: Tally) -> bool:
    """Whether a worker has come to a value, but for the rounding of each step."""
    largest = np.maximum(np.abs(tally.first), np.abs(tally.last)).astype(np.float64)
    kind = ml_dtypes.finfo(tally.last.dtype)  # type: ignore[no-untyped-call]
    epsilon = float(kind.eps)
    slack = (
        _ROUNDINGS * tally.num_steps * epsilon * np.maximum(largest, np.abs(expected))
    )
    return bool(np.all(np.abs(tally.last - expected) <= slack))
