"""The refusal of options that cannot be simulated."""

from __future__ import annotations

from fdtcore.telemetry.trace_file import check_directory
from fdtcore.validation import demand
from nfdt import algorithms
from nfdt.clusters.cluster import Cluster
from nfdt.glue.shard_factory import check_rule
from nfdt.options import Options, real_runs_only


def check(options: Options, cluster: Cluster) -> None:
    """Refuses options that a simulation of a cluster does not have.

    Args:
        options: The user's options, as they were given.
        cluster: What the job runs on.

    Raises:
        ValueError: An option cannot be simulated.
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
    for name in real_runs_only():
        value = getattr(options, name)
        demand(
            value == getattr(Options, name),  # the default
            f"a simulation has no {name}",
            "Omit it, or use nfdt run.",
            **{name: value},
        )
