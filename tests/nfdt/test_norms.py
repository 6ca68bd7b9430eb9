"""Sums of squares at the edges of float32."""

import numpy as np
import pytest

from nfdt.rules.delay_compensation import square_sum


@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1e-18, 1.0, 1e15, 1e25, 1e37])
@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 8193, 50_000])
def test_it_is_the_sum_of_squares(size, scale):
    vector = np.random.default_rng(0).normal(size=size) * scale
    vector = vector.astype(np.float32)
    expected = float(np.sum(vector.astype(np.float64) ** 2))
    with np.errstate(all="raise"):
        assert square_sum(vector) == pytest.approx(expected, rel=1e-5, abs=0)


def test_small_and_large_pieces_together():
    vector = np.concatenate([np.full(8192, 1e-25), np.full(8192, 1e25)])
    found = square_sum(vector.astype(np.float32))
    assert found == pytest.approx(8192 * 1e50, rel=1e-5)


def test_what_no_number_holds_is_infinite():
    with np.errstate(over="ignore"):
        assert square_sum(np.full(2, 1e200)) == float("inf")
