"""The start of a simulation: from a process's environment to its cluster."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fdtcore import output
from fdtcore.process import Process
from nfdt.clusters import cluster_yaml
from nfdt.clusters.cluster import Cluster
from nfdt.options import Options
from nfdt.simulation import supported

if TYPE_CHECKING:
    from nfdt.simulation.glue.engine import SimulatedEngine

CLUSTER, WORKERS, SEED = "NFDT_CLUSTER", "NFDT_WORKERS", "NFDT_SEED"


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether this process is to simulate a cluster."""
    return bool(environ.get(CLUSTER))


def cluster(environ: Mapping[str, str]) -> Cluster:
    """Reads the cluster that is to be simulated.

    Raises:
        ValueError: Its file is wrong, or cannot have that number of workers.
    """
    found = cluster_yaml.read(environ[CLUSTER])
    workers = environ.get(WORKERS)
    return found.resized(int(workers)) if workers else found


def check(options: Options, process: Process, environ: Mapping[str, str]) -> None:
    """Refuses what cannot be simulated.

    Raises:
        ValueError: The cluster or an option is wrong, or there are several processes.
    """
    if process.size > 1:
        raise ValueError(
            "a simulation is one process, which plays all workers. Received: "
            f"{process.size} processes. Use nfdt simulate."
        )
    supported.check(options, cluster(environ))


def check_environ(environ: Mapping[str, str]) -> None:
    """Refuses now what the process of an environment would refuse.

    Raises:
        ValueError: As :func:`check` says.
    """
    check(Options.from_environ(environ), Process(), environ)


def engine(options: Options, environ: Mapping[str, str]) -> SimulatedEngine:
    """Makes the engine of this process, which tells at its end what there was."""
    from nfdt.simulation.glue.engine import SimulatedEngine

    seed = int(environ.get(SEED, "0"))
    made = SimulatedEngine(options, cluster(environ), seed)

    def end() -> None:
        for line in made.close():
            output.shout(line)

    atexit.register(end)
    return made
