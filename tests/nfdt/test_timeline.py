"""Spans of workers: in order, without overlap, and summing to what was reported."""

import numpy as np
import pytest

from fdtcore.telemetry import rows
from nfdt.telemetry import timeline
from tests.nfdt.synthetic_run import START_S, bulk_synchronous, event, run

SECOND = {"clock": 2, "version": 2}


def in_order(line):
    """Whether no worker does two things at once, or anything before the origin."""
    for spans in line.workers.values():
        moments = np.stack(spans).T.reshape(-1)
        if (np.diff(moments) < 0).any() or moments[0] < 0:
            return False
    return True


def test_one_step_after_another():
    events = [
        event(time_s=12.0, compute_s=2.0),
        event(time_s=16.0, compute_s=3.0, exchange_s=1.0, wait_s=0.25, **SECOND),
    ]
    spans = timeline.build(events).workers[0]
    # The first batch is cut to a tenth of the four seconds between the pushes.
    assert spans.start_s == pytest.approx([0.0, 1.4])
    assert spans.pushed_s == pytest.approx([0.4, 4.4])
    assert spans.waited_s == pytest.approx([0.4, 4.65])
    assert spans.released_s == pytest.approx([1.4, 4.65])


def test_spans_of_a_run_have_the_reported_lengths():
    events = run([0.1, 0.15, 0.4], 400)
    line = timeline.build(events)
    assert in_order(line)
    for worker, spans in line.workers.items():
        mine = [one for one in events if one.worker == worker]
        computed_s = spans.pushed_s - spans.start_s
        assert computed_s[1:] == pytest.approx([one.compute_s for one in mine[1:]])
        exchanged_s = spans.released_s - spans.pushed_s
        assert exchanged_s[:-1] == pytest.approx([one.exchange_s for one in mine[1:]])


def test_gradients_held_for_one_update_have_arrived_before_it():
    line = timeline.build(bulk_synchronous([0.1, 0.3], 5))
    fast, slow = line.workers[0], line.workers[1]
    assert slow.pushed_s - fast.pushed_s == pytest.approx(5 * [0.2])
    assert fast.waited_s == pytest.approx(slow.pushed_s)
    assert in_order(line)


def test_held_after_its_update_arrived_with_it():
    events = [
        event(time_s=1.0, wait_s=0.5),
        event(time_s=2.0, compute_s=0.4, exchange_s=0.6, **SECOND),
    ]
    spans = timeline.build(events).workers[0]
    assert spans.waited_s[0] - spans.pushed_s[0] == pytest.approx(0.5)


def test_reports_that_contradict_the_server_do_not_overlap():
    random = np.random.default_rng(3)
    events = [
        one._replace(
            compute_s=one.compute_s * random.uniform(0.5, 2),
            exchange_s=one.exchange_s * random.uniform(0, 50),
            wait_s=random.uniform(0, 0.2),
        )
        for one in run([0.1, 0.2], 300)
    ]
    assert in_order(timeline.build(events))


def test_time_on_the_wire_goes_to_the_exchange():
    # The server is late for the second push, and in time for the third.
    pushes = [(1.0, 0.8), (2.3, 0.8), (3.0, 0.8)]
    events = [
        event(time_s=time_s, clock=n, version=n, compute_s=compute_s, exchange_s=0.2)
        for n, (time_s, compute_s) in enumerate(pushes, start=1)
    ]
    spans = timeline.build(events).workers[0]
    assert spans.start_s[1:] == pytest.approx(spans.released_s[:-1])
    assert spans.released_s[:-1] - spans.pushed_s[:-1] == pytest.approx([0.5, 0.0])


def test_a_refused_push_leaves_a_gap():
    events = [
        event(time_s=t, clock=n, version=t, compute_s=1.0, exchange_s=0.5, wait_s=0.25)
        for t, n in ((10, 1), (20, 3), (22, 4))
    ]
    spans = timeline.build(events).workers[0]
    assert spans.released_s - spans.pushed_s == pytest.approx([0.25, 1.0, 0.25])
    assert spans.pushed_s[1:] - spans.start_s[1:] == pytest.approx([1.0, 1.0])


def test_groups_that_alternate_show_all_exchanges():
    # A step takes 4 s: 1 s of computing and 1 s of exchange for each of two groups.
    events = [
        event(
            time_s=4.0 * step + 2.0 * group,
            clock=step + 1,
            version=step + 1,
            group=group,
            compute_s=3.0,
            exchange_s=1.0 if step else 0.0,
        )
        for step in range(4)
        for group in (0, 1)
    ]
    spans = timeline.build(events).workers[0]
    # Nobody tells how long the last exchange of each group took.
    assert spans.pushed_s[1:7] - spans.start_s[1:7] == pytest.approx(6 * [1.0])
    assert spans.released_s[:6] - spans.pushed_s[:6] == pytest.approx(6 * [1.0])


def test_order_of_release_does_not_matter():
    events = run([0.1, 0.2, 0.3], 100)
    one, other = timeline.build(events), timeline.build(events[::-1])
    assert np.array_equal(one.table, other.table)
    for worker in one.workers:
        assert np.array_equal(one.workers[worker], other.workers[worker])


def test_a_long_start_is_cut():
    events = [
        event(time_s=START_S + i, version=i + 1, compute_s=1.0) for i in range(11)
    ]
    events[0] = events[0]._replace(compute_s=600.0)
    line = timeline.build(events)
    assert line.origin_s == START_S - 1.0
    assert line.end_s == pytest.approx(11.0)


def test_shares_of_bins():
    starts_s, ends_s = np.array([0.0, 1.5, 3.0]), np.array([0.5, 2.5, 3.0])
    edges_s = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    found = rows.shares(starts_s, ends_s, edges_s)
    assert found == pytest.approx([0.5, 0.5, 0.5, 0.0])


def test_shares_sum_to_all_the_time_spent():
    spans = timeline.build(run([0.05], 500)).workers[0]
    edges_s = np.linspace(0, spans.pushed_s[-1], 71)
    found = rows.shares(spans.start_s, spans.pushed_s, edges_s)
    total_s = (spans.pushed_s - spans.start_s).sum()
    assert (found * np.diff(edges_s)).sum() == pytest.approx(total_s)


def test_smoothing_is_a_running_mean_that_skips_nan():
    values = np.array([1.0, 2.0, 3.0, np.nan, 5.0])
    assert timeline.smooth(values, 3) == pytest.approx([1.5, 2.0, 2.5, 4.0, 5.0])
    assert timeline.smooth(values, 1) == pytest.approx(values, nan_ok=True)
    assert len(timeline.smooth(values, 1000)) == 5
