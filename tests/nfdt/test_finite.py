"""The check of a gradient."""

import numpy as np
import pytest

from nfdt.protocol.shard_state import first_wrong, is_finite


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 4999, 9999])
def test_one_element_is_enough(place, wrong):
    vector = np.ones(10_000, np.float32)
    vector[place] = wrong
    assert not is_finite(vector)
    assert first_wrong(vector) == place


@pytest.mark.parametrize("value", [0.0, 3e38, -3e38, 1e-45])
def test_finite_numbers_are_finite_even_where_their_sum_is_not(value):
    with np.errstate(all="raise"):  # and nobody is warned
        assert is_finite(np.full(100, value, np.float32))


def test_an_empty_shard_is_finite():
    assert is_finite(np.zeros(0, np.float32))
