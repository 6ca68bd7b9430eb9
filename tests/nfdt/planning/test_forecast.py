"""Forecasts of speed and staleness, against what can be reckoned by hand."""

import dataclasses

import numpy as np
import pytest

from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Link, Servers, Slower, WorkerGroup
from nfdt.clusters.step_times import Constant, Gamma
from nfdt.planning.forecast import forecast


def rate(events):
    return (len(events) - 1) / (events[-1].time_s - events[0].time_s)


def staleness(events):
    return np.mean([event.staleness for event in events[len(events) // 4 :]])


def test_one_worker_makes_one_step_and_one_exchange_after_the_other():
    # 4 MB: 40 ms there, 40 ms back, 2 x 5 ms of latency, 1 ms + 4 ms of update.
    cluster = Cluster(
        (WorkerGroup(1, Constant(0.1), Link(0.005, 1e8)),), Servers(1, 1e9, 0.001)
    )
    events = forecast(cluster, 1_000_000, 50)
    assert len(events) == 50
    assert rate(events) == pytest.approx(1 / 0.195)
    assert staleness(events) == 0


@pytest.mark.parametrize(("count", "period_s"), [(1, 0.185), (2, 0.143)])
def test_servers_take_their_part_of_the_bytes(count, period_s):
    # 4 MB over the servers' own links: 40 ms each way, or 20 ms with two of them.
    servers = Servers(count, 1e9, 0.001, Link(bytes_per_s=1e8))
    cluster = Cluster((WorkerGroup(1, Constant(0.1)),), servers)
    assert rate(forecast(cluster, 1_000_000, 50)) == pytest.approx(1 / period_s)


@pytest.mark.parametrize("workers", [2, 8])
def test_workers_that_keep_out_of_each_others_way_add_up(workers):
    cluster = Cluster((WorkerGroup(workers, Gamma(0.1)),))
    events = forecast(cluster, 1000, 2000)
    assert rate(events) == pytest.approx(10 * workers, rel=0.03)
    assert staleness(events) == pytest.approx(workers - 1, rel=0.03)


def test_the_servers_link_bounds_them_all():
    # 4 MB at 1 GB/s: no more than 250 pushes a second.
    servers = Servers(link=Link(bytes_per_s=1e9))
    cluster = Cluster((WorkerGroup(64, Gamma(0.02)),), servers)
    assert rate(forecast(cluster, 1_000_000, 2000)) == pytest.approx(250, rel=0.02)


def test_a_straggler_is_slow_alone_or_for_all():
    even = Cluster((WorkerGroup(4, Constant(0.1)),))
    uneven = dataclasses.replace(even, changes=(Slower(0.0, 3, 4.0),))
    assert rate(forecast(uneven, 10, 1000)) == pytest.approx(32.5, rel=0.02)
    together = forecast(uneven, 10, 400, controller="bsp")
    assert rate(together[8:]) == pytest.approx(4 * 2.5, rel=0.05)


def test_equal_seeds_give_equal_forecasts():
    cluster = Cluster((WorkerGroup(5, Gamma(0.1), Link(jitter_s=0.01)),))
    first, again, other = (forecast(cluster, 10, 100, seed=s) for s in (1, 1, 2))
    assert str(first) == str(again) != str(other)
