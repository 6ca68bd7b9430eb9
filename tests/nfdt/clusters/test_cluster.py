"""Distributions of times, and what a cluster makes of its groups."""

import numpy as np
import pytest

from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Dies, Edge, Joins, Link, Servers, Slower, WorkerGroup
from nfdt.clusters.step_times import Constant, Exponential, Gamma, Measured
from nfdt.simulation.workers import members, nodes

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("duration", "variation"),
    [
        (Constant(0.3), 0.0),
        (Gamma(0.3, 0.5), 0.5),
        (Exponential(0.3), 1.0),
        (Measured([0.1, 0.5]), 2 / 3),
        (Measured([0.05, 0.25], factor=2.0), 2 / 3),
    ],
)
def test_times_have_their_mean_and_spread(duration, variation):
    times = [duration.draw_s(RANDOM) for _ in range(20_000)]
    assert duration.mean_s == pytest.approx(0.3)
    assert np.mean(times) == pytest.approx(0.3, rel=0.03)
    assert np.std(times) / np.mean(times) == pytest.approx(variation, abs=0.03)


def test_workers_of_a_heterogeneous_group_differ_about_one_mean():
    group = WorkerGroup(4000, Constant(1.0), spread=0.6)
    factors = [worker.factor for worker in Cluster((group,)).workers(RANDOM)]
    assert np.mean(factors) == pytest.approx(1, abs=0.05)
    assert np.std(factors) == pytest.approx(0.6, abs=0.05)


def test_what_one_draws_does_not_depend_on_the_others():
    few = nodes(Cluster((WorkerGroup(2, Exponential(1.0)),)), seed=1)
    many = nodes(Cluster((WorkerGroup(5, Exponential(1.0)),)), seed=1)
    for one, other in zip(few, many, strict=False):
        assert [one.step_s() for _ in range(5)] == [other.step_s() for _ in range(5)]


def test_members_are_workers_edge_nodes_and_who_joins():
    groups = (
        WorkerGroup(2, Constant(1.0), Link(0.1)),
        WorkerGroup(3, Constant(2.0), Link(0.2), edges=(Edge(1), Edge(2, Link(0.3)))),
    )
    found = members(Cluster(groups, changes=(Joins(7.0, like=1, count=2),)))
    assert [member.terminals for member in found] == [[0], [1], [2], [3, 4], [5], [6]]
    assert [member.is_edge for member in found] == [False] * 2 + [True] * 2 + [
        False
    ] * 2
    assert [m.link.latency_s for m in found] == [0.1, 0.1, 0.0, 0.3, 0.1, 0.1]
    assert [member.is_there for member in found] == [True] * 4 + [False] * 2


@pytest.mark.parametrize("workers", [1, 2, 7, 64])
def test_a_resized_cluster_keeps_its_proportion(workers):
    groups = (WorkerGroup(3, Constant(1.0)), WorkerGroup(1, Constant(4.0)))
    found = Cluster(groups).resized(workers)
    assert found.num_workers == workers
    assert abs(found.groups[0].count - 0.75 * workers) <= 0.5


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Constant(0), "mean_s must be a number > 0"),
        (lambda: Gamma(1.0, 0), "cv must be a number > 0"),
        (lambda: Exponential(-1.0), "mean_s must be a number > 0"),
        (lambda: Measured([]), "one or more numbers"),
        (lambda: Measured([0.1, 0]), "one or more numbers"),
        (lambda: Link(-1.0), "latency and jitter must be"),
        (lambda: Link(jitter_s=-1.0), "latency and jitter must be"),
        (lambda: Link(bytes_per_s=0), "a bandwidth must be"),
        (lambda: Servers(0), "count must be a number > 0"),
        (
            lambda: WorkerGroup(3, Constant(1.0), edges=(Edge(2),)),
            "must have all workers",
        ),
        (lambda: Cluster(()), "must have a worker"),
        (lambda: _with(Dies(1.0, 2)), "must name a worker"),
        (lambda: _with(Joins(1.0, like=5)), "must name a worker"),
        (lambda: _with(Slower(-1.0, 0, 2.0)), "have a time >= 0 s"),
        (lambda: _with(Dies(1.0, 1)).resized(5), "can be resized"),
    ],
)
def test_what_no_cluster_can_be_is_refused(make, rule):
    with pytest.raises(ValueError, match=rule) as caught:
        make()
    assert "Received: " in str(caught.value)


def _with(change):
    return Cluster((WorkerGroup(2, Constant(1.0)),), changes=(change,))
