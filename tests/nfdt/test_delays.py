"""The mean delay, and the q that follows it."""

import numpy as np
import pytest

from nfdt.rules.delays import MeanDelay, demand_q


def after(delays):
    mean = MeanDelay()
    for delay in delays:
        mean = mean.after(delay)
    return mean


def test_at_first_it_is_the_mean_of_all():
    delays = [3, 0, 7, 2]
    assert after(delays) == (4, pytest.approx(np.mean(delays)))


def test_then_it_forgets():
    long_ago = after([1000] * 50 + [2] * 1000)
    assert long_ago.mean == pytest.approx(2, abs=0.3)
    one_more = long_ago.after(102).mean - long_ago.mean
    assert one_more == pytest.approx(0.01 * (102 - long_ago.mean))


def test_a_constant_delay_is_its_own_mean():
    assert after([5] * 300).mean == pytest.approx(5)


def test_q_is_one_above_the_mean_or_as_given():
    assert after([2, 4]).q("auto") == 4
    assert after([2, 4]).q(7) == 7.0


@pytest.mark.parametrize("q", [0, -1, "often", None, True, float("inf"), float("nan")])
def test_what_is_no_q(q):
    with pytest.raises(
        ValueError, match=r'q must be "auto" or a number > 0\. Received'
    ):
        demand_q(q)


@pytest.mark.parametrize("q", ["auto", 1, 0.5, 10.0])
def test_what_is_one(q):
    demand_q(q)
