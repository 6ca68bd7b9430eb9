"""How long the steps of workers take; a step takes 1 s on average."""

from __future__ import annotations

import math
from collections.abc import Mapping

from benchmarks.papers.runs import Run
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Link, Servers, Slower, WorkerGroup
from nfdt.clusters.step_times import Duration, Exponential, Gamma

EVEN, HETEROGENEOUS, EXPONENTIAL = "even", "heterogeneous", "exponential"
CHANGING = "changing"
_STEADY = Gamma(1.0, cv=0.1)
_SLOWDOWN = 3.0

# Name -> distribution of a worker's steps, and spread of the workers' own means.
TIMES: Mapping[str, tuple[Duration, float]] = {
    EVEN: (_STEADY, 0.0),
    HETEROGENEOUS: (_STEADY, 0.6),
    EXPONENTIAL: (Exponential(1.0), 0.0),
    CHANGING: (_STEADY, 0.0),
}


def cluster(run: Run, message_bytes: int) -> Cluster:
    """Returns the cluster of a run.

    Args:
        run: The run.
        message_bytes: Of a gradient, and of the parameters.
    """
    step, spread = TIMES[run.times]
    group = WorkerGroup(run.workers, step, spread=spread)
    bytes_per_s = message_bytes / run.message_s if run.message_s else math.inf
    servers = Servers(link=Link(bytes_per_s=bytes_per_s))
    changes = _changes(run) if run.times == CHANGING else ()
    return Cluster((group,), servers, changes, name=run.times)


def _changes(run: Run) -> tuple[Slower, ...]:
    """Slows one half of the workers for a while, and the other half later.

    As when a job that is none of ours begins on their machines, and ends.
    """
    lasts_s = run.steps / run.workers
    half = run.workers // 2
    halves = range(half), range(half, run.workers)
    return tuple(
        Slower(share * lasts_s, worker, factor)
        for workers, begins, ends in zip(halves, (0.2, 0.6), (0.5, 0.9))
        for share, factor in ((begins, _SLOWDOWN), (ends, 1 / _SLOWDOWN))
        for worker in workers
    )
