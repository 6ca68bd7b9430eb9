"""Where the time of a worker's steps goes: sums in virtual time, and what is said."""

import math

from nfdt.protocol.step_times import StopWatch, TimeShares


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def go(self, seconds):
        self.now_s += seconds


def pushed(watch, clock, computing_s, python_s, waiting_s, exchanging_s):
    clock.go(computing_s)
    with watch.of_push():
        clock.go(python_s + waiting_s + exchanging_s)
        watch.exchanged(waiting_s, exchanging_s)


def test_the_parts_of_a_step_add_up_without_the_first():
    clock = Clock()
    watch = StopWatch(clock)
    pushed(watch, clock, 100.0, 10.0, 10.0, 10.0)  # traced in it
    for _ in range(4):
        pushed(watch, clock, 5.0, 0.5, 1.5, 0.25)
    found = watch.times()
    assert found == TimeShares(4, 20.0, 6.0, 1.0, 2.0)
    assert math.isclose(sum(found[1:]), 4 * 7.25)


def test_of_one_push_nothing_is_known():
    clock = Clock()
    watch = StopWatch(clock)
    assert watch.times() == TimeShares()
    pushed(watch, clock, 1.0, 1.0, 1.0, 1.0)
    assert watch.times() == TimeShares()
    assert TimeShares.mean([watch.times()]) == TimeShares()


def test_the_mean_is_over_the_steps_of_all_workers():
    slow, fast = TimeShares(1, 8.0, 0.0, 0.0, 0.0), TimeShares(3, 12.0, 6.0, 3.0, 1.5)
    mean = TimeShares.mean([slow, fast])
    assert mean == TimeShares(1, 5.0, 1.5, 0.75, 0.375)
    assert mean.line() == (
        "computing 5000.00 ms, waiting 1500.00 ms, exchanging 750.00 ms, "
        "wrapper 375.00 ms"
    )


def test_what_a_worker_sends_is_read():
    times = TimeShares(3, 12.0, 6.0, 3.0, 1.5)
    assert TimeShares.unpack(times.pack()) == times
    assert TimeShares.unpack(b"") == TimeShares()
