"""The largest elements of a vector, beside a sort of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from fdtcore.compression import selection


def largest(vector, count, start=0):
    stop = start + len(vector)
    padded = np.concatenate([np.full(start, 1e9), vector])
    return selection.largest(lambda part: padded[part], start, stop, count)


VECTORS = {
    "normal": lambda rng: rng.standard_normal(200_000),
    "heavy": lambda rng: rng.standard_cauchy(200_000),
    "equal": lambda rng: np.full(100_000, 2.0),
    "zeros": lambda rng: np.zeros(100_000),
    "few": lambda rng: np.where(rng.random(100_000) < 1e-4, 1.0, 0.0),
    "whole": lambda rng: rng.integers(-5, 5, 100_000).astype(float),
    # A sample that is regular sees only what is small, or only what is large.
    "small_at_samples": lambda rng: np.where(np.arange(81920) % 20 == 0, 1e-3, 1.0),
    "large_at_samples": lambda rng: np.where(np.arange(81920) % 20 == 0, 1.0, 1e-3),
    "short": lambda rng: rng.standard_normal(50),
    "one": lambda rng: np.array([3.0]),
}


@pytest.mark.parametrize("share", [1e-5, 0.001, 0.01, 0.25, 0.9, 1.0])
@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize("kind", VECTORS)
def test_they_are_those_of_a_sort(kind, start, share):
    vector = VECTORS[kind](np.random.default_rng(1))
    count = max(1, int(share * len(vector)))
    found = largest(vector, count, start)
    order = np.argsort(-np.abs(vector), kind="stable")[:count]
    assert np.array_equal(found.indices, np.sort(order) + start)
    assert np.array_equal(found.values, vector[np.sort(order)])
    assert found.is_finite and found.indices.dtype == np.int32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 70_001])
def test_what_is_not_finite_is_told(bad, place):
    vector = np.ones(100_000)
    vector[place] = bad
    found = largest(vector, 10)
    assert not found.is_finite
    assert np.isnan(found.values).all() and len(found.values) == 10
    assert len(np.unique(found.indices)) == 10
