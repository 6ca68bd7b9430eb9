"""The Taylor terms: by hand, by direction and by size."""

import ml_dtypes
import numpy as np
import pytest

from nfdt.rules.corrections import Block, Push
from nfdt.rules.delay_compensation import (
    AdaptiveDelayCompensation,
    AdaptiveDelayCompensationState,
    DelayCompensation,
    DelayedTaylor,
    square_sum,
)
from nfdt.rules.rule_state import NoState

G, W, V = np.array([2.0, -1.0]), np.array([1.0, 1.0]), np.array([0.5, 3.0])


def test_the_constant_term_by_hand():
    found, _ = DelayCompensation(0.5).correct(Block(G, W, V), NoState(), None)
    np.testing.assert_allclose(found, [2 + 0.5 * 4 * 0.5, -1 + 0.5 * 1 * -2])


def test_the_adaptive_term_by_hand():
    rule = AdaptiveDelayCompensation(strength=1.0, decay=0.75, epsilon=1e-7)
    state = AdaptiveDelayCompensationState(mean_square=np.array([4.0, 0.0]))
    found, after = rule.correct(Block(G, W, V), state, None)
    np.testing.assert_allclose(after.mean_square, [4.0, 0.25])
    expected = [2 + 4 * 0.5 / np.sqrt(4 + 1e-7), -1 + 1 * -2 / np.sqrt(0.25 + 1e-7)]
    np.testing.assert_allclose(found, expected)


def late_by(tau, rule=None, given=Block(G, W, V), before=()):  # noqa: B008
    rule = rule or DelayedTaylor()
    state = rule.init(given.params, 2)
    for staleness in before:
        _, state = rule.scalars(state, rule.measure(given), Push(0, staleness, 0.1))
    scalars, state = rule.scalars(state, rule.measure(given), Push(0, tau, 0.1))
    return rule.correct(given, state, scalars)[0] - given.gradient


def test_the_delayed_term_is_as_long_as_its_trust_says():
    # q = 1 + (2 + 4 + 6) / 3 = 5 at tau = 6.
    added = late_by(6, before=(2, 4))
    assert np.linalg.norm(added) == pytest.approx(6 / 11 * np.linalg.norm(G))
    direction = G * G * (W - V)
    np.testing.assert_allclose(
        added / np.linalg.norm(added), direction / np.linalg.norm(direction)
    )


@pytest.mark.parametrize(("tau", "trust"), [(0, 0.0), (1, 0.25), (4, 1.0), (9, 1.0)])
def test_the_saturating_trust(tau, trust):
    added = late_by(tau, DelayedTaylor(q=4, saturating=True))
    assert np.linalg.norm(added) == pytest.approx(trust * np.linalg.norm(G))


@pytest.mark.parametrize("factor", [1e-12, 1e-6, 1e6])
def test_the_delayed_term_does_not_depend_on_units_in_float32(factor):
    given = Block(*(part.astype(np.float32) for part in (G, W, V)))
    scaled = given._replace(gradient=(given.gradient * factor).astype(np.float32))
    np.testing.assert_allclose(
        late_by(3, given=scaled), late_by(3, given=given) * factor, rtol=1e-5
    )


@pytest.mark.parametrize("gradient", [3e38, 1e-30])
def test_a_term_beyond_the_numbers_is_left_out(gradient):
    g = np.full(2, gradient, np.float32)
    given = Block(g, W.astype(np.float32), V.astype(np.float32))
    with np.errstate(over="ignore", under="ignore"):
        np.testing.assert_array_equal(late_by(3, given=given), [0, 0])


def test_compensation_goes_the_way_that_the_curvature_says():
    """Where w has come nearer to the optimum, the late gradient is made smaller."""
    curvature, w, v = np.array([1.0]), np.array([1.0]), np.array([2.0])
    given = Block(curvature * v, w, v)
    found, _ = DelayCompensation(0.2).correct(given, (), None)
    assert curvature * w < found < curvature * v


@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1e-18, 1.0, 1e15, 1e25, 1e37])
@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 8193, 50_000])
def test_it_is_the_sum_of_squares(size, scale):
    vector = np.random.default_rng(0).normal(size=size) * scale
    vector = vector.astype(np.float32)
    expected = float(np.sum(vector.astype(np.float64) ** 2))
    with np.errstate(all="raise"):
        assert square_sum(vector) == pytest.approx(expected, rel=1e-5, abs=0)


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16]
)
def test_the_sum_is_that_of_dot_products_of_pieces_to_the_bit(dtype):
    vector = np.random.default_rng(1).normal(size=30_000).astype(dtype)
    expected = 0.0
    for start in range(0, vector.size, 8192):
        piece = vector[start : start + 8192]
        expected += float(np.dot(piece, piece))
    assert square_sum(vector) == expected


def test_small_and_large_pieces_together():
    vector = np.concatenate([np.full(8192, 1e-25), np.full(8192, 1e25)])
    found = square_sum(vector.astype(np.float32))
    assert found == pytest.approx(8192 * 1e50, rel=1e-5)


def test_what_no_number_holds_is_infinite():
    with np.errstate(over="ignore"):
        assert square_sum(np.full(2, 1e200)) == float("inf")
