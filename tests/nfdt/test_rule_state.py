"""The state of a rule: cut to blocks, written in place, kept and taken up again."""

import numpy as np
import pytest

from nfdt.protocol import serialization
from nfdt.rules.averaging import DelayMomentumState
from nfdt.rules.delays import MeanDelay
from nfdt.rules.optimizers import SgdState
from nfdt.rules.rule_state import NoState, arrays_of, cut, restored
from tests.nfdt.rules import ROWS, push, server

STATE = DelayMomentumState(np.arange(6.0), MeanDelay(3, 1.5))
GRADIENTS = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)


def test_a_block_of_a_state_is_a_view_of_its_arrays():
    part = cut(STATE, slice(2, 4))
    assert part.delay is STATE.delay
    np.testing.assert_array_equal(part.running, [2, 3])
    assert np.shares_memory(part.running, STATE.running)


def test_what_is_no_array_is_not_cut():
    assert cut(NoState(), slice(0, 1)) == NoState()
    assert cut(SgdState(None), slice(0, 1)) == SgdState(None)
    assert arrays_of(SgdState(None)) == []


def test_a_state_that_was_kept_is_taken_up_in_place():
    own = DelayMomentumState(np.zeros(6), MeanDelay())
    kept = serialization.load(serialization.dump(STATE))
    found = restored(own, kept)
    assert found.delay == STATE.delay
    assert found.running is own.running
    np.testing.assert_array_equal(found.running, STATE.running)


def test_a_state_of_another_rule_is_not_taken_up():
    with pytest.raises(ValueError, match="shorter"):
        restored(STATE, [np.zeros(6)])


@pytest.mark.parametrize("row", ROWS)
def test_another_update_goes_on_from_a_kept_state_to_the_bit(row):
    whole = server(row, np.ones(5, np.float32))
    for gradient in GRADIENTS[:4]:
        push(whole, 0, gradient)
    kept = serialization.load(serialization.dump(whole.update.state()))
    other = server(row, whole.params)
    pulled = whole.progress[0].pulled
    other.version = whole.version
    other.progress[0].pulled = pulled._replace(params=pulled.params.copy())
    other.update.load(kept)
    for gradient in GRADIENTS[4:]:
        push(whole, 0, gradient)
        push(other, 0, gradient)
    np.testing.assert_array_equal(other.params, whole.params)
