"""Every correction: what holds for all of them, and the formulas one by one."""

import dataclasses

import numpy as np
import pytest

from nfdt.rules.corrections import Block, GapAware, NoCorrection, Push, StalenessAware
from nfdt.rules.delay_compensation import (
    AdaptiveDelayCompensation,
    DelayCompensation,
    DelayedTaylor,
)
from nfdt.rules.rule_state import arrays_of

ROWS = [
    NoCorrection(),
    DelayCompensation(),
    DelayCompensation(strength=0),
    AdaptiveDelayCompensation(),
    DelayedTaylor(),
    DelayedTaylor(q=3, saturating=True),
    StalenessAware(),
    GapAware(),
]
SIZE = 11


def block(dtype, seed=0):
    generator = np.random.default_rng(seed)
    return Block(*(generator.normal(size=SIZE).astype(dtype) for _ in range(3)))


def corrected(rule, given, tau=2, rate=0.1):
    """Returns what one push becomes as the first of a rule, and the state after it."""
    state = rule.init(given.params, 3)
    scalars, state = rule.scalars(state, rule.measure(given), Push(0, tau, rate))
    return rule.correct(given, state, scalars)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", ROWS, ids=repr)
def test_inputs_stay_and_so_do_shape_and_type(rule, dtype):
    given = block(dtype)
    before = [part.copy() for part in given]
    arrays = arrays_of(rule.init(given.params, 3))
    kept = [array.copy() for array in arrays]
    found, state = corrected(rule, given)
    for part in (found, *arrays_of(state)):
        assert part.dtype == dtype
        assert part.shape == (SIZE,)
    for part, copy in zip((*given, *arrays), (*before, *kept), strict=True):
        np.testing.assert_array_equal(part, copy)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", ROWS, ids=repr)
def test_without_delay_a_gradient_is_used_as_it_is(rule, dtype):
    given = block(dtype)
    fresh = given._replace(pulled=given.params)
    found, _ = corrected(rule, fresh, tau=0)
    np.testing.assert_array_equal(found, given.gradient)


@pytest.mark.parametrize("rule", ROWS, ids=repr)
def test_without_delay_even_a_huge_gradient_is_used_as_it_is(rule):
    given = block(np.float32)
    huge = (given.gradient * 1e30).astype(np.float32)
    fresh = Block(huge, given.params, given.params)
    with np.errstate(over="ignore"):
        found, _ = corrected(rule, fresh, tau=0)
    np.testing.assert_array_equal(found, huge)


@pytest.mark.parametrize("rule", ROWS, ids=repr)
def test_a_correction_changes_what_is_late(rule):
    given = block(np.float64)
    found, _ = corrected(rule, given)
    same = isinstance(rule, NoCorrection) or rule == DelayCompensation(strength=0)
    assert np.array_equal(found, given.gradient) == same


@pytest.mark.parametrize("rule", ROWS, ids=repr)
def test_a_rule_survives_being_described(rule):
    assert type(rule)(**dataclasses.asdict(rule)) == rule


def test_without_a_rate_gap_aware_makes_no_nan():
    given = block(np.float32)
    given.pulled[:3] = given.params[:3]  # these have not moved
    found, _ = corrected(GapAware(), given, rate=0.0)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:3], given.gradient[:3])


def test_gap_aware_remembers_the_largest_rate():
    rule = GapAware()
    state = rule.init(np.zeros(1), 3)
    for rate in (0.1, 0.4, 0.2):
        scalars, state = rule.scalars(state, np.zeros(0), Push(0, 0, rate))
    assert scalars.largest_rate == 0.4


@pytest.mark.parametrize(("tau", "divisor"), [(0, 1), (1, 1), (2, 2), (7, 7)])
def test_staleness_divides(tau, divisor):
    given = block(np.float64)
    found, _ = corrected(StalenessAware(), given, tau=tau)
    np.testing.assert_array_equal(found, given.gradient / divisor)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: GapAware(gamma=1.0),
            r"gamma must be .* in \[0, 1\)\. Received: gamma=1",
        ),
        (
            lambda: GapAware(epsilon=0.0),
            r"epsilon must be .* > 0\. Received: epsilon=0",
        ),
        (
            lambda: DelayCompensation(-1.0),
            r"strength must .* Received: strength=-1\.0\.",
        ),
        (lambda: DelayCompensation(float("nan")), r"strength=nan\. Use 0 for"),
        (lambda: AdaptiveDelayCompensation(decay=-0.1), r"decay must .* decay=-0\.1\."),
        (
            lambda: AdaptiveDelayCompensation(epsilon=-1.0),
            r"epsilon=-1\.0\. Use 1e-7\.",
        ),
        (lambda: AdaptiveDelayCompensation("much"), r"strength='much'\. Use 0"),
        (
            lambda: DelayedTaylor(q="automatic"),
            r'q must be "auto" .* q=\'automatic\'\.',
        ),
        (lambda: DelayedTaylor(q=0), r"q=0\. Use \"auto\""),
    ],
)
def test_options_out_of_range_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
