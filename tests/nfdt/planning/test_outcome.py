"""Which of several runs is recommended, and the words for it."""

import math

import numpy as np
import pytest

from nfdt.planning import outcome
from nfdt.planning.outcome import ComparisonRow
from nfdt.protocol.events import Event
from nfdt.telemetry.summary import Summary
from nfdt.telemetry.trace import Trace


def row(name, losses, step_s=1.0, problem=""):
    times = step_s * np.arange(1, len(losses) + 1)
    return ComparisonRow(name, times, np.array(losses), Summary(), 0.25, problem)


FAST = row("fast", [3, 2, 1, 0.9])
SLOW = row("slow", [3, 2, 1, 0.8], step_s=2.0)
LOST = row("lost", [1, 0.5, 3, 4])
FAILED = row("failed", [1, 0.5], problem="ValueError: wrong")
NEVER = row("never", [3, 3, 3, 3])
EMPTY = row("empty", [])
ALL = [SLOW, LOST, FAILED, NEVER, EMPTY, FAST]


def test_the_first_to_reach_and_keep_the_target_is_recommended():
    assert outcome.best(ALL, 1.0) is FAST
    assert FAST.reaches_s(1.0) == 3
    said = outcome.recommendation(ALL, 1.0)
    assert said.startswith("recommended  fast: loss 1 in 3.00 s, 2.00 times as fast as")
    assert "4 do not reach it, or do not stay there" in said


def test_of_equally_fast_ones_the_lower_loss_wins():
    lower = row("lower", [3, 2, 1, 0.7], step_s=1.04)
    assert outcome.best([FAST, lower], 1.0) is lower
    much_later = row("later", [3, 2, 1, 0.7], step_s=1.06)
    assert outcome.best([FAST, much_later], 1.0) is FAST


def test_nothing_is_recommended_where_nobody_gets_there():
    assert outcome.best([LOST, NEVER, EMPTY], 1.0) is None
    assert "none" in outcome.recommendation([LOST, NEVER], 1.0)


def test_the_target_is_what_half_of_the_runs_that_have_learned_end_at():
    assert outcome.common_target([FAST, SLOW, NEVER, LOST, FAILED, EMPTY]) == 0.9
    assert outcome.common_target([NEVER, FAILED, EMPTY]) == 3
    assert math.isnan(outcome.common_target([FAILED, EMPTY]))


def test_the_table_is_in_order_and_says_what_went_wrong():
    lines = outcome.table(ALL, 1.0).splitlines()
    names = [line.split()[0] for line in lines[1:]]
    assert names[:2] == ["fast", "slow"]
    said = {line.split()[0]: line for line in lines[1:]}
    assert "lost again" in said["lost"]
    assert "ValueError: wrong" in said["failed"]
    assert "never" in said["never"]


def test_a_trace_is_read_by_time_and_smoothed():
    about = {"group": 0, "clock": 1, "staleness": 0, "lead": 0, "wait_s": 0.0}
    events = [
        Event(
            time_s=float(t), worker=0, version=t, compute_s=1.0, exchange_s=1.0,
            loss=float(10 - t), epoch=0, number=t, **about,
        )
        for t in (3, 1, 2)
    ]  # fmt: skip
    found = outcome.outcome("one", Trace({}, events, []))
    assert list(found.times_s) == [1, 2, 3]
    assert found.losses[-1] == pytest.approx(8, abs=1)
    assert found.waited == pytest.approx(0.5)
    assert found.summary.mean_staleness == 0
