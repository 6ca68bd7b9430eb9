"""Numbers below the smallest normal one are zero to a rule, as to TensorFlow."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from nfdt.rules import blocks, subnormals
from nfdt.rules.blocks import Lanes
from nfdt.rules.corrections import Push
from nfdt.rules.optimizers import Sgd
from nfdt.rules.updates import BlockUpdate, Late
from tests.nfdt.rules import update

SMALL = np.full(8, 2e-39, np.float32)
HALF = np.float32(0.5)

known = pytest.mark.skipif(
    subnormals.control_of_this_machine() is None, reason="no such control is known"
)


@known
def test_they_are_zero_in_the_block_and_nowhere_else():
    with subnormals.flushed():
        assert not (SMALL * HALF).any()  # as operands
        assert not (np.full(8, 1.2e-38, np.float32) * HALF).any()  # as results
    assert (SMALL * HALF).all()


@known
def test_they_are_back_when_the_block_raises():
    with pytest.raises(ZeroDivisionError), subnormals.flushed():
        raise ZeroDivisionError
    assert (SMALL * HALF).all()


@known
def test_one_thread_does_not_set_another():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # a new thread would begin as the one that makes it
        with subnormals.flushed():
            assert pool.submit(lambda: (SMALL * HALF).all()).result()


def test_tensorflow_takes_them_for_zero():
    assert not (tf.constant(SMALL) * HALF).numpy().any()
    step = tf.function(lambda values: values * HALF)
    assert not step(tf.constant(SMALL)).numpy().any()


@known
@pytest.mark.parametrize("num_lanes", [1, 2])
def test_the_momentum_of_a_gradient_that_stays_zero_comes_to_zero(
    num_lanes, monkeypatch
):
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", 4)
    monkeypatch.setattr(blocks, "LANE_ELEMENTS", 4)
    params = np.ones(8, np.float32)
    correction = update("asgd", params, 1).correction
    with ThreadPoolExecutor(num_lanes) as pool:
        lanes = Lanes(num_lanes, pool.map)
        rule = BlockUpdate(correction, Sgd(momentum=0.9), params, 1, lanes)
        for number in range(1000):
            gradient = np.full(8, number == 0, np.float32)
            late = Late(Push(0, 0, 0.1), gradient, params.copy())
            rule.apply(params, [late], 0.1)
    assert not rule.state()["rule"].velocity.any()
    # 0.1 * (1 + 0.9 + 0.9^2 + ...) = 1 has been subtracted.
    np.testing.assert_allclose(params, 0, atol=1e-5)
