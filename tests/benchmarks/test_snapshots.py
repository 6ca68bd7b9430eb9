"""What snapshots have cost, from the batches that a job has noted."""

import pytest

from benchmarks import snapshots
from benchmarks.chaos import Batch

STEADY = [Batch(100.0 + i / 10, i) for i in range(400)]


def test_a_rate_is_that_between_two_moments():
    slow = [Batch(50.0 + i, i) for i in range(50)]
    assert snapshots.rate(slow + STEADY, 100.0, 139.0) == pytest.approx(10.0)


def test_what_a_snapshot_has_held_up_is_beside_the_usual_step():
    held = [Batch(b.time_s + 0.7 * (b.number > 200), b.number) for b in STEADY]
    assert snapshots.held_up_s(STEADY, 120.0) == pytest.approx(0.0)
    assert snapshots.held_up_s(held, 121.0) == pytest.approx(0.7)


def test_a_line_shows_the_median_and_the_extremes():
    line = snapshots.shown("a rate", [0.9, 1.0, 0.97], target="at least 0.98")
    assert line == "a rate: 0.970 (0.900 to 1.000), wanted at least 0.98"
