"""The elements of a vector that are largest in magnitude, exactly.

A sample tells a magnitude that a few more elements reach than are wanted. One pass over
the vector finds these, and only they are put in order. The vector need not exist: it
may be a sum that is made piece by piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fdtcore.compression.layout import Vector, blocks

Indices = npt.NDArray[np.int32]
# From a range of the vector, perhaps with a stride, to its values there.
Values = Callable[[slice], Vector]

_SAMPLE = 16_384  # elements
# A bound that fewer elements reach than are wanted costs another pass.
_MARGIN, _DEVIATIONS = 1.2, 4.0


class Selected(NamedTuple):
    """Elements of a vector."""

    indices: Indices  # [k], ascending
    values: Vector  # [k]
    is_finite: bool  # whether all elements of the vector are, these or others


def largest(values: Values, start: int, stop: int, count: int) -> Selected:
    """Returns the elements of a range with the largest magnitudes.

    Of equal ones those that come first are taken.

    Args:
        values: Makes a piece of the vector.
        start: Where the range begins, in elements.
        stop: Where it ends.
        count: How many are wanted, at most as many as there are.
    """
    bound = _bound(values, start, stop, count)
    while True:
        found = _reaching(values, start, stop, bound)
        if not found.is_finite or len(found.indices) >= count:
            break
        bound = 0.0
    if not found.is_finite:
        # What is sent tells the others, and has the length that they await.
        indices = np.arange(start, start + count, dtype=np.int32)
        nothing = np.full(count, np.nan, found.values.dtype)
        return Selected(indices, nothing, False)
    return _cut(found, count)


def _bound(values: Values, start: int, stop: int, count: int) -> float:
    """Returns a magnitude that very likely enough elements reach, and few more."""
    size = stop - start
    if size <= 4 * _SAMPLE:
        return 0.0
    sample = np.abs(values(slice(start, stop, size // _SAMPLE)))
    share = count / size
    wanted = len(sample) * share * _MARGIN
    wanted += _DEVIATIONS * math.sqrt(max(wanted, 1.0))
    place = math.ceil(wanted)
    if place >= len(sample):
        return 0.0
    bound = float(np.partition(sample, -place)[-place])
    return bound if math.isfinite(bound) else 0.0


def _reaching(values: Values, start: int, stop: int, bound: float) -> Selected:
    indices, found, is_finite = [], [], True
    for block in blocks(start, stop):
        piece = values(block)
        magnitudes = np.abs(piece)
        is_finite = is_finite and math.isfinite(magnitudes.max())
        places = np.flatnonzero(magnitudes >= bound)
        indices.append(places + block.start)
        found.append(piece[places])
    return Selected(
        np.concatenate(indices).astype(np.int32), np.concatenate(found), is_finite
    )


def _cut(found: Selected, count: int) -> Selected:
    """Leaves so many of those that were found."""
    if len(found.indices) == count:
        return found
    magnitudes = np.abs(found.values)
    last = np.partition(magnitudes, -count)[-count]
    kept = magnitudes > last
    equal = np.flatnonzero(magnitudes == last)
    kept[equal[: count - np.count_nonzero(kept)]] = True
    return Selected(found.indices[kept], found.values[kept], True)
