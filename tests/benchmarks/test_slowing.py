"""The straggler of the uneven work; no model, no waiting."""

import argparse

import pytest

pytest.importorskip("keras")

from benchmarks.contenders import slowing


@pytest.fixture
def slept_s(monkeypatch):
    """Return the list of all sleeps; a clock stands in that ticks 1 s a look."""
    slept: list[float] = []
    ticks = iter(range(1000))
    monkeypatch.setattr(slowing.time, "sleep", slept.append)
    monkeypatch.setattr(slowing.time, "perf_counter", lambda: float(next(ticks)))
    return slept


def test_steps_after_the_first_epoch_take_four_times_as_long(slept_s):
    callback = slowing.Slowing(4)
    for batch in range(3):
        callback.on_train_batch_begin(batch)
    assert slept_s == []
    callback.on_epoch_end(0)
    callback.on_train_batch_begin(0)
    callback.on_epoch_end(1)
    callback.on_train_batch_begin(0)
    assert slept_s == [3.0, 3.0]


def test_the_first_step_which_is_traced_does_not_count():
    assert slowing.median_step_s([0.0, 9.0, 10.0, 11.5, 13.0]) == 1.5


@pytest.mark.parametrize(
    ("slowdown", "slow_rank", "count"), [(4, 1, 1), (4, 0, 0), (1, 1, 0)]
)
def test_only_the_slow_rank_is_slowed(monkeypatch, slowdown, slow_rank, count):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    options = argparse.Namespace(slowdown=slowdown, slow_rank=slow_rank)
    assert len(slowing.callbacks(options)) == count
