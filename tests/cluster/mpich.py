"""MPICH on the hosts: an environment above the project's, with another MPI in it."""

from __future__ import annotations

from tests.cluster.hosts import CACHE

BIN = CACHE / "mpich" / "bin"
# Neither the project's own mpirun, nor one that a cluster would have.
PATH = f"{BIN}:/usr/bin:/bin"


def missing() -> str | None:
    """Says in one line what is missing here for MPICH; None where nothing is."""
    if not (BIN / "mpiexec").exists():
        return f"no MPICH in {BIN} (PYTHON=... scripts/host_packages.sh all)"
    return None
