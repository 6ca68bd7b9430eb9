"""Verdicts follow from made-up results as the rule says."""

import pytest

from benchmarks.papers.verdicts import (
    Order,
    Statement,
    Verdict,
    compare,
    overall,
    state,
)

A, E, B = Order.ABOVE, Order.EQUAL, Order.BELOW
HOLDS, PARTLY, FAILS, OPEN = Verdict.HOLDS, Verdict.PARTLY, Verdict.FAILS, Verdict.OPEN


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [(0.81, 0.80, A), (0.80, 0.81, B), (0.802, 0.80, E), (0.80, 0.802, E)],
)
def test_a_difference_within_the_margin_is_none(one, other, order):
    assert compare(one, other) is order


@pytest.mark.parametrize(
    ("orders", "verdict"),
    [
        ([A, A, A], HOLDS),
        ([A, A, E, E], HOLDS),
        ([A, E, E], PARTLY),
        ([A, A, B], PARTLY),
        ([E, E], FAILS),
        ([A, B], FAILS),
        ([A, B, B], FAILS),
        ([], OPEN),
    ],
)
def test_the_rule(orders, verdict):
    assert state("x > y", orders).verdict is verdict


def test_at_least_as_good_is_less_than_better():
    assert state("x >= y", [E, E], or_equal=True).verdict is HOLDS
    assert state("x >= y", [E, B, A], or_equal=True).verdict is PARTLY
    assert state("x >= y", [B], or_equal=True).verdict is FAILS


def test_the_reason_counts():
    reason = state("x > y", [A, A, B]).reason
    assert reason == "above in 2, equal in 0, below in 1 of 3 cases"


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, FAILS], PARTLY),
        ([FAILS, FAILS], FAILS),
        ([PARTLY, FAILS], PARTLY),
        ([HOLDS, OPEN], OPEN),
        ([], OPEN),
    ],
)
def test_a_claim_is_what_its_statements_are(verdicts, whole):
    assert overall([Statement("", verdict, "") for verdict in verdicts]) is whole
