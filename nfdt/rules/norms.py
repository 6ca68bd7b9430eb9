"""Sums of squares that neither lose small numbers nor take other processes' cores."""

from __future__ import annotations

import numpy as np

from nfdt.rules.corrections import Vector

_PIECE = 8192  # elements that BLAS sums on one thread: the other cores are the workers'
_SMALL, _LARGE = 1e-30, 1e30  # where float32 still holds the squares that matter


def square_sum(vector: Vector) -> float:
    """Returns the sum of the squares, right where float32 would under- or overflow."""
    total = 0.0
    for start in range(0, vector.size, _PIECE):
        piece = vector[start : start + _PIECE]
        with np.errstate(over="ignore", under="ignore"):
            part = float(np.dot(piece, piece))
        if not _SMALL < part < _LARGE:
            wide = piece.astype(np.float64)
            part = float(np.dot(wide, wide))
        total += part
    return total
