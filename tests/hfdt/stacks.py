"""A sample of what Horovod is built for, and fake programs to find."""

import dataclasses
from pathlib import Path

from hfdt.install.stack import Mpi, Stack, TensorFlow

TENSORFLOW = TensorFlow("2.21.0", Path("/tf/include"), ("-DABI=1",), None)
MPI = Mpi("Open MPI", "5.0.11", Path("/own/bin/mpirun"), Path("/own/bin/mpicxx"), True)
STACK = Stack(TENSORFLOW, MPI, None)
CLUSTER = dataclasses.replace(MPI, mpirun=Path("/opt/mpi/bin/mpirun"), bundled=False)


def program(folder: Path, name: str, says: str = "") -> Path:
    """Puts a program into a folder; it prints a text, whatever it is asked."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\n")
    path.chmod(0o755)
    return path
