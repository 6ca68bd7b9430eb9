"""What the value of a batch is of those of its parts, told from numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fdtcore.glue.combining import MEAN, OTHER, SUM, UNKNOWN, agreed, kind

SHARES = [0.25, 0.75]
VALUES = np.array([[1.0, -2.0], [5.0, 2.0]])  # of two parts
OF_BOTH = {
    MEAN: SHARES @ VALUES,
    SUM: VALUES.sum(0),
    OTHER: VALUES.max(0) + 1,
}


@pytest.mark.parametrize("expected", OF_BOTH)
def test_a_kind_is_told_from_the_parts(expected):
    whole = OF_BOTH[expected]
    assert kind(VALUES, SHARES, whole, whole * (1 + 1e-6), 1e-4) == expected


def test_zeros_and_what_is_drawn_anew_tell_nothing():
    zeros = np.zeros_like(VALUES)
    assert kind(zeros, SHARES, zeros[0], zeros[0], 1e-4) == UNKNOWN
    whole = OF_BOTH[MEAN]
    assert kind(VALUES, SHARES, whole + 0.3, whole - 0.3, 1e-4) == UNKNOWN


def test_a_sum_is_told_through_noise():
    whole = OF_BOTH[SUM]
    assert kind(VALUES, SHARES, whole + 0.01, whole - 0.01, 1e-4) == SUM


@pytest.mark.parametrize(
    ("kinds", "together"),
    [
        ([MEAN, UNKNOWN, MEAN], MEAN),
        ([SUM, MEAN], OTHER),
        ([UNKNOWN, UNKNOWN], UNKNOWN),
        ([OTHER, MEAN], OTHER),
    ],
)
def test_ranks_come_to_one_kind(kinds, together):
    assert agreed(kinds) == together
