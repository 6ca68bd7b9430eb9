"""Environment variables that let several ranks share one machine.

Pure: an environment in, the variables to add out. Both the launcher and the rank
program apply them, so a plain ``mpirun`` runs under the same settings.

How a process imports TensorFlow in less time.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator, Mapping, MutableMapping


def available_cores() -> int:
    """Counts the cores this process may run on (never less than 1)."""
    if hasattr(os, "sched_getaffinity"):  # honours taskset, cgroup cpusets, SLURM
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def waiting() -> dict[str, str]:
    """Returns the settings that keep a waiting rank from stealing a core."""
    return {
        # Open MPI polls. A rank that waits must hand its core to one that computes:
        # TensorFlow's threads fill every core, so this holds for any rank count.
        "OMPI_MCA_mpi_yield_when_idle": "1",
        # Milliseconds between Horovod's looks for ready gradients. Its own default
        # differs between how it is started; of a step of some milliseconds one of 1 ms
        # would be a good part.
        "HOROVOD_CYCLE_TIME": "0.1",
    }


def threads(local_size: int, cores: int) -> dict[str, str]:
    """Returns thread pool sizes that together fill the node once, not N times."""
    if local_size <= 1:
        return {}  # TensorFlow's own choice is right for one rank on the node
    share = str(max(1, cores // local_size))
    return {
        "TF_NUM_INTRAOP_THREADS": share,
        "TF_NUM_INTEROP_THREADS": share,
        # NumPy's BLAS, scikit-learn and other libraries beside TensorFlow.
        "OMP_NUM_THREADS": share,
    }


def server_threads(workers: int, servers: int, cores: int) -> int:
    """Returns how many threads a server may use: its share of what workers leave.

    The worker whose message is worked on waits meanwhile, so its cores are free, too.

    Args:
        workers: Workers on this node, whose threads share its cores.
        servers: Servers on this node.
        cores: Cores of this node that the ranks may use together.
    """
    busy = max(0, workers - 1) * (cores // max(1, workers))
    return max(1, (cores - busy) // servers)


def silence() -> dict[str, str]:
    """Returns the settings that keep TensorFlow's start-up chatter away."""
    # 3 leaves fatal messages only. At 2 a machine without a GPU still reports
    # "failed call to cuInit" as an error; real errors reach Python as exceptions.
    return {"TF_CPP_MIN_LOG_LEVEL": "3"}


def settings(
    local_size: int, cores: int, environ: Mapping[str, str], *, verbose: bool = False
) -> dict[str, str]:
    """Returns the variables a rank needs and the user has not set.

    Args:
        local_size: Ranks on this node.
        cores: Cores of this node that the ranks may use together.
        environ: The environment as the user left it; what it holds, stays.
        verbose: True leaves TensorFlow's own messages as they are.

    Returns:
        The variables to add.
    """
    wanted = waiting() | threads(local_size, cores) | ({} if verbose else silence())
    return {name: value for name, value in wanted.items() if name not in environ}


def root_permission(environ: Mapping[str, str], uid: int) -> dict[str, str]:
    """Returns what Open MPI asks of root, whose jobs it otherwise refuses.

    Containers run as root; the refusal would tell their users to set exactly these.

    Args:
        environ: The environment as the user left it.
        uid: Numeric user id of the process that launches.

    Returns:
        The variables to add; empty for anybody but root.
    """
    if uid != 0:
        return {}
    names = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
    return {name: "1" for name in names if name not in environ}


def apply(
    local_size: int, environ: MutableMapping[str, str], *, verbose: bool = False
) -> None:
    """Adds the settings of a rank to its own environment, before TensorFlow loads.

    Args:
        local_size: Ranks on this node.
        environ: The environment to complete, usually ``os.environ``.
        verbose: True leaves TensorFlow's own messages as they are.
    """
    environ.update(settings(local_size, available_cores(), environ, verbose=verbose))


def apply_two_at_once(environ: MutableMapping[str, str]) -> None:
    """Makes sure of two threads for TensorFlow's functions, before it loads.

    Where a step calls another function, it waits in one thread and that needs another.

    Args:
        environ: The environment to complete; what it holds, stays.
    """
    if available_cores() == 1:
        environ.setdefault("TF_NUM_INTEROP_THREADS", "2")


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Lets the garbage collector rest while large packages are imported.

    None of the half a million objects that TensorFlow brings is garbage; to look
    through them again and again takes a quarter of a process's start.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # they stay as long as the process
        if was_on:
            gc.enable()
