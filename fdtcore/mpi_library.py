"""The MPI library of a process, and whether the launcher of its job speaks to it.

An MPI that does not know its launcher starts alone in each process, or ends it with
words of its own. Pure: what the library calls itself and the environment in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fdtcore.process import Process

_OPEN_MPI = re.compile(r"Open MPI v(\d+)")
# From this version on Open MPI learns of the other processes by PMIx alone.
_PMIX_MAJOR = 5
_OPEN_MPIS, _MPICHS, _SLURMS = "the mpirun of Open MPI", "the mpiexec of MPICH", "srun"


def is_alone(process: Process, library: str, environ: Mapping[str, str]) -> bool:
    """Tells, before MPI starts, whether it will not find the others of its job.

    Args:
        process: This process, by what its launcher said.
        library: What the MPI library calls itself: ``MPI_Get_library_version``.
        environ: The environment of the process.

    Returns:
        True where that is certain; elsewhere the start has to show it.
    """
    if process.size == 1:
        return False
    if match := _OPEN_MPI.match(library):
        return int(match[1]) >= _PMIX_MAJOR and "PMIX_NAMESPACE" not in environ
    return library.startswith("MPICH") and _launcher(environ) == _OPEN_MPIS


def complaint(
    program: str,
    process: Process,
    library: str,
    environ: Mapping[str, str],
    found: int = 1,
) -> str:
    """Says in one line that the processes of a job do not find each other.

    Args:
        program: Name of the framework.
        process: This process, by what its launcher said.
        library: What the MPI library calls itself; empty where it does not tell.
        environ: The environment of the process.
        found: How many the library finds.
    """
    launcher = _launcher(environ)
    words = library.replace(",", " ").replace("Version:", "").split()
    name = " ".join(words[:2] if library.startswith("MPICH") else words[:3])
    is_mpich = library.startswith("MPICH")
    if launcher == _SLURMS:
        kind = "pmi2" if is_mpich else "pmix"
        way_out = f"Use srun --mpi={kind}, or within the allocation: {program} run."
    else:
        own = _MPICHS if is_mpich else _OPEN_MPIS
        way_out = f"Put {own} first on PATH, also for {program} run."
    return (
        "all processes of a job must find each other. Received: "
        f"{process.size} processes from {launcher}, of which {name or 'MPI'} finds "
        f"{found}. {way_out}"
    )


def _launcher(environ: Mapping[str, str]) -> str:
    if "OMPI_COMM_WORLD_SIZE" in environ:
        return _OPEN_MPIS
    if "SLURM_STEP_ID" in environ and "PMI_HOSTNAME" not in environ:
        return _SLURMS
    return _MPICHS
