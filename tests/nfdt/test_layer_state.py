"""What workers have each counted or averaged, brought to one value."""

import ml_dtypes
import numpy as np
import pytest

from nfdt.rules.layer_state import Tally, merged

STEPS = (5, 3, 0)  # of three workers between two meetings


def after(change, base, steps):
    for _ in range(steps):
        base = change(base)
    return base


def tallies(change, base, at_once=1, steps=STEPS):
    """What each worker has come to; ``change`` makes a step, on whatever batch."""
    found = []
    for number in steps:
        first = min(at_once, number)
        values = [after(change, base, n) for n in (first, number)]
        found.append(Tally(first, values[0], number, values[1]))
    return found


def scalar(value, dtype):
    return np.array(value, dtype)


SCHEDULES = {
    "steps": (scalar(7, np.int32), lambda n: n + np.int32(1)),
    "unsigned": (scalar([7, 0], np.uint32), lambda n: n + np.uint32([1, 2])),
    "down": (scalar(900, np.int64), lambda n: n - 3),
    "linear": (scalar(0.3, np.float32), lambda v: v - np.float32(0.01)),
    "some elements": (
        scalar([0.0, 2.0], np.float32),
        lambda v: v + scalar([0.25, 0], v.dtype),
    ),
    "half": (scalar(0, ml_dtypes.bfloat16), lambda v: v + scalar(0.125, v.dtype)),
    "geometric": (scalar(2.0, np.float32), lambda v: v * np.float32(0.9)),
    "negative": (scalar(-2.0, np.float64), lambda v: v * 0.5),
}


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_that_of_all_steps(name, at_once):
    base, change = SCHEDULES[name]
    value, is_known = merged(base, tallies(change, base, at_once))
    assert is_known
    assert value.dtype == base.dtype
    expected = after(change, base, sum(STEPS)).astype(np.float64)
    np.testing.assert_allclose(value.astype(np.float64), expected, rtol=1e-5)


@pytest.mark.parametrize("equal", [(4, 4), (4, 2)])
def test_an_average_of_the_data_is_weighted_by_batches(equal):
    base = np.zeros(2, np.float32)
    means = (np.array([1.0, 3.0], np.float32), np.array([2.0, -1.0], np.float32))
    found = [
        tallies(lambda v, mean=mean: v + (mean - v) / 2, base, steps=(steps,))[0]
        for mean, steps in zip(means, equal)
    ]
    value, is_known = merged(base, found)
    assert is_known
    np.testing.assert_allclose(
        value, np.average([one.last for one in found], 0, weights=equal), rtol=1e-6
    )


def test_what_one_worker_alone_has_done_is_kept():
    base, change = SCHEDULES["geometric"]
    value, is_known = merged(base, tallies(change, base, steps=(0, 4)))
    assert (value, is_known) == (after(change, base, 4), True)


def test_without_a_step_nothing_changes():
    base = scalar(3.0, np.float32)
    assert merged(base, []) == (base, True)
    assert merged(base, tallies(lambda v: v, base, steps=(2, 2))) == (base, True)


@pytest.mark.parametrize("who", [(True, True), (True, False)])
def test_a_flag_that_a_worker_has_set_is_set(who):
    base = scalar(False, bool)
    found = [Tally(1, scalar(w, bool), 2, scalar(w, bool)) for w in who]
    assert merged(base, found) == (np.True_, True)


def test_a_schedule_of_another_kind_is_not_known():
    def step(value):
        return np.minimum(value + np.float32(0.4), np.float32(1))

    base = scalar(0.0, np.float32)
    value, is_known = merged(base, tallies(step, base, steps=(5, 4)))
    assert (float(value), is_known) == (1.0, False)  # not the sum


def test_a_position_that_starts_over_is_one_workers():
    base = scalar(1, np.int32)
    found = tallies(lambda n: (n + 3) % 7, base, steps=(2, 4))
    assert merged(base, found) == (found[0].last, False)
