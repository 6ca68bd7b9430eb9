"""The refusal of options that cannot be simulated."""

from __future__ import annotations

from nfdt import algorithms
from nfdt.clusters.cluster import Cluster
from nfdt.glue.shard_factory import check_rule
from nfdt.options import Options
from nfdt.telemetry.trace import check_directory

_REAL_RUNS_ONLY = ("checkpoint", "resume", "overlap")


def check(options: Options, cluster: Cluster) -> None:
    """Refuses options that a simulation of a cluster does not have.

    Args:
        options: The user's choices.
        cluster: What the job runs on.

    Raises:
        ValueError: There is one.
    """
    check_rule(algorithms.find(options.algorithm), cluster.servers.count)
    if options.trains_locally and any(m.is_edge for m in cluster.members()):
        raise ValueError(
            "an edge node merges gradients, not local steps of its terminals. "
            f"Received: algorithm={options.algorithm!r}, "
            f"consistency={options.consistency!r}. Use an algorithm and a consistency "
            "model that push every gradient."
        )
    if options.trace:
        check_directory(options.trace)
    for name in _REAL_RUNS_ONLY:
        value = getattr(options, name)
        if value:
            raise ValueError(
                f"a simulation has no {name}. Received: {name}={value!r}. "
                "Omit it, or use nfdt run."
            )
