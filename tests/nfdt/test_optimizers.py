"""The server's own optimizers: what holds for all of them, and by hand."""

import numpy as np
import pytest

from nfdt.rules.averaging import DelayMomentum, FixedDelayMomentum
from nfdt.rules.corrections import Push
from nfdt.rules.optimizers import Elastic, Sgd
from nfdt.rules.rule_state import arrays_of

ROWS = [
    Sgd(),
    Sgd(momentum=0.9),
    Sgd(momentum=0.9, nesterov=True),
    FixedDelayMomentum(),
    DelayMomentum(),
    DelayMomentum(q=5, caution=4.0),
    DelayMomentum(momentum=0.9),
    FixedDelayMomentum(momentum=0.9, nesterov=True),
    Elastic(),
    Elastic(alpha=0.3),
]
G = np.array([2.0, -1.0, 0.5])


def updates(rule, gradients, taus, num_workers=3, rate=0.1):
    """Returns the updates that gradients become, one after the other."""
    state = rule.init(np.zeros_like(gradients[0]), num_workers)
    found = []
    for gradient, tau in zip(gradients, taus, strict=True):
        scalars, state = rule.scalars(state, Push(0, tau, rate))
        change, state = rule.update(gradient, state, scalars)
        found.append(change)
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", ROWS, ids=repr)
def test_inputs_stay_and_so_do_shape_and_type(rule, dtype):
    gradient = G.astype(dtype)
    state = rule.init(np.ones(3, dtype), 3)
    arrays = arrays_of(state)
    for array in arrays:
        array += dtype(1)
    scalars, state = rule.scalars(state, Push(0, 2, 0.1))
    change, after = rule.update(gradient, state, scalars)
    assert change.dtype == dtype
    assert change.shape == (3,)
    assert [array.dtype for array in arrays_of(after)] == [dtype] * len(arrays)
    np.testing.assert_array_equal(gradient, G.astype(dtype))
    for array in arrays:
        np.testing.assert_array_equal(array, np.ones(3))


@pytest.mark.parametrize("rule", ROWS, ids=repr)
def test_state_begins_at_nothing(rule):
    for array in arrays_of(rule.init(np.full(3, np.nan), 3)):
        np.testing.assert_array_equal(array, np.zeros(3))


def test_heavy_ball_by_hand():
    first, second = updates(Sgd(momentum=0.5), [G, G], [0, 0])
    np.testing.assert_allclose(first, -0.1 * G)
    np.testing.assert_allclose(second, -0.15 * G)


def test_nesterov_by_hand():
    first, second = updates(Sgd(momentum=0.5, nesterov=True), [G, G], [0, 0])
    np.testing.assert_allclose(first, -0.15 * G)
    np.testing.assert_allclose(second, -0.175 * G)


def test_dc_asgdk_by_hand():
    first, second = updates(FixedDelayMomentum(), [G, G], [9, 0], num_workers=4)
    np.testing.assert_allclose(first, -0.1 * G / 4)
    np.testing.assert_allclose(second, -0.1 * G / 4 * (3 / 4 + 1))


def test_ddc_asgd_by_hand():
    first, second = updates(DelayMomentum(q=2), [G, G], [2, 6])
    np.testing.assert_allclose(first, -0.1 * G / 2)
    np.testing.assert_allclose(second, -0.1 * G * (3 / 4 / 2 + 1 / 4))


def test_caution_multiplies_q():
    one = updates(DelayMomentum(q=8), [G, G], [3, 5])
    other = updates(DelayMomentum(q=2, caution=4.0), [G, G], [3, 5])
    np.testing.assert_array_equal(one, other)


def test_momentum_of_the_user_is_kept_beside_the_share_of_the_past():
    rule = FixedDelayMomentum(momentum=0.5)
    first, second = updates(rule, [G, G], [0, 0], num_workers=4)
    np.testing.assert_allclose(first, -0.1 * G / 4)
    np.testing.assert_allclose(second, -0.1 * G / 4 * (0.5 + 0.5 * 3 / 4 + 1))


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("rule", [FixedDelayMomentum, DelayMomentum, Sgd])
def test_in_the_long_run_a_gradient_weighs_what_it_does_in_sgd(rule, momentum):
    """A constant gradient moves lr * g / (1 - mu) a push in the end, at any delay."""
    found = updates(rule(momentum=momentum), [G] * 900, [3] * 900, num_workers=4)
    np.testing.assert_allclose(found[-1], -0.1 * G / (1 - momentum), rtol=1e-6)


def test_elastic_is_set_by_the_number_of_workers():
    np.testing.assert_allclose(
        updates(Elastic(), [G], [0], num_workers=6)[0], -0.15 * G
    )


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: Sgd(momentum=1.1),
            r"momentum must .* Received: momentum=1\.1\. Use 0",
        ),
        (lambda: Sgd(momentum=-0.1), r"momentum=-0\.1"),
        (lambda: DelayMomentum(momentum=1), r"momentum must .* \[0, 1\)\. .*=1\. Use"),
        (lambda: DelayMomentum(q=-2), r"q must be .* Received: q=-2\. Use"),
        (
            lambda: DelayMomentum(caution=0.0),
            r"caution must .* > 0\. Received: caution=0",
        ),
        (lambda: Elastic(alpha=1), r"alpha must .* Received: alpha=1\. Use"),
        (lambda: Elastic(alpha=0), r"alpha=0\."),
        (lambda: Elastic(alpha="weak"), r"alpha='weak'\."),
    ],
)
def test_options_out_of_range_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
