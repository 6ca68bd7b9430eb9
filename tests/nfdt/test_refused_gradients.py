"""A gradient that is not finite is refused before it touches anything."""

import numpy as np
import pytest

from nfdt.protocol.controllers import StaleSynchronous
from nfdt.protocol.messages import Kind
from nfdt.rules.rule_state import arrays_of
from tests.nfdt.rules import ROWS, push, server

START = np.linspace(-1, 1, 5).astype(np.float32)
ONES = np.ones(5, np.float32)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", ROWS)
def test_a_gradient_that_is_not_finite_touches_nothing(row, wrong):
    made = server(row, START)
    push(made, 0, ONES)
    before = made.params.copy()
    state = [array.copy() for array in arrays_of(made.update.state()["rule"])]
    gradient = ONES.copy()
    gradient[3] = wrong
    (answer,) = push(made, 1, gradient)
    assert answer.kind is Kind.REFUSED
    assert (answer.worker, answer.number, answer.clock) == (1, 3, 1)
    np.testing.assert_array_equal(made.params, before)
    for array, kept in zip(arrays_of(made.update.state()["rule"]), state, strict=True):
        np.testing.assert_array_equal(array, kept)
    assert made.version == 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_both_infinities_at_once_are_seen(wrong):
    made = server("asgd", START)
    (answer,) = push(made, 0, np.array([1, np.inf, -np.inf, wrong, 0], np.float32))
    assert answer.kind is Kind.REFUSED
    assert answer.number == 1


def test_a_sum_beyond_the_numbers_is_no_reason_to_refuse():
    made = server("asgd", START, rate=0.0)
    (answer,) = push(made, 0, np.full(5, 3e38, np.float32))
    assert answer.kind is Kind.PARAMS


def test_refusals_in_a_row_are_counted_over_all_workers():
    made = server("asgd", START)
    nothing = ONES * np.nan
    counts = [push(made, w, nothing)[0].clock for w in (0, 1, 0)]
    push(made, 2, ONES)
    assert counts == [1, 2, 3]
    assert push(made, 0, nothing)[0].clock == 1


def test_a_refused_push_is_a_step_that_others_have_waited_for():
    made = server("asgd", START, 2, StaleSynchronous(max_lead=0))
    assert push(made, 0, ONES) == []
    refused, released = push(made, 1, ONES * np.nan)
    assert (refused.kind, refused.worker) == (Kind.REFUSED, 1)
    assert (released.kind, released.worker) == (Kind.PARAMS, 0)
