"""Ranks that do not find each other: one line says so, with the cure, and all end."""

from __future__ import annotations

import dataclasses
import functools
import re
import sys

import pytest

from tests.cluster import mpich
from tests.cluster.test_jobs import SCRIPT
from tests.processes import ROOT

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.horovod,
    pytest.mark.mpi,
    pytest.mark.slow,
]

EXPLICIT = ROOT / "tests" / "cluster" / "explicit.py"
HYDRA = (mpich.BIN / "mpiexec", "-n", 3, "-hosts", "node1,node2,node3")
MPIRUN = (
    *("mpirun", "-x", "PATH", "-x", "PYTHONPATH"),
    *("--host", "node1,node2,node3", "-np", 3),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A launcher that the MPI of the ranks does not know.

    Args:
        what: Whose launcher, for reports.
        launcher: Its command line.
        program: ``hfdt`` or ``nfdt``.
        form: ``-m``, or ``explicit``: a script that distributes its model itself.
        said: Pattern of a part of the one line.
        python: Interpreter of the ranks.
    """

    what: str
    launcher: tuple[object, ...]
    program: str
    form: str
    said: str
    python: object = sys.executable

    @property
    def words(self):
        script = (EXPLICIT, self.program)
        script = ("-m", self.program, SCRIPT) if self.form == "-m" else script
        return (*self.launcher, self.python, *script)


NONE, PMI2 = (("srun", f"--mpi={kind}", "-N3", "-n3") for kind in ("none", "pmi2"))
OF_SRUN = r"from srun, of which Open MPI v[\d.]+ finds 1\. Use srun --mpi=pmix"
OF_MPICH = r"the mpiexec of MPICH, of which Open MPI v[\d.]+ finds 1\. Put the mpirun"
OF_OPEN_MPI = r"the mpirun of Open MPI, of which MPICH [\d.]+ finds 1\. Put the mpiexec"
ROWS = (
    Row("srun --mpi=none", NONE, "hfdt", "explicit", OF_SRUN),
    Row("srun --mpi=none", NONE, "nfdt", "explicit", OF_SRUN),
    Row("srun --mpi=pmi2", PMI2, "hfdt", "-m", OF_SRUN),
    Row("srun --mpi=pmi2", PMI2, "nfdt", "-m", OF_SRUN),
    Row("MPICH", HYDRA, "hfdt", "explicit", OF_MPICH),
    Row("MPICH", HYDRA, "nfdt", "-m", OF_MPICH),
    Row("Open MPI", MPIRUN, "nfdt", "-m", OF_OPEN_MPI, mpich.BIN / "python"),
)


def of_rows(row):
    return f"{row.what}, {row.program} {row.form}"


@pytest.mark.parametrize("row", ROWS, ids=of_rows)
def test_ranks_that_are_alone_say_so_once(request, hosts, folder, row):
    if row.what.startswith("srun"):
        run = request.getfixturevalue("slurm").run
    elif lacking := mpich.missing():
        pytest.skip(lacking)
    else:
        run = functools.partial(hosts.run, "node1")
    done = run(*row.words, folder=folder)
    assert done.returncode != 0
    assert not done.stdout
    said = done.stderr.splitlines()
    lines = [line for line in said if "must find each other" in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"{row.program}: "), lines
    assert re.search(row.said, lines[0])
    for word in ("Traceback", "Sorry!", "suspicious", "Fatal error"):
        assert word not in done.stderr, done.stderr


def test_a_launcher_on_each_task_is_refused_once(slurm, folder):
    words = ("srun", "-N3", "-n3", sys.executable, "-m", "hfdt.cli", "run", SCRIPT)
    done = slurm.run(*words, folder=folder)
    assert done.returncode == 2
    assert done.stderr.count("must be started once, not on each rank") == 1
    assert not done.stdout
