"""`hfdt install-horovod`: the Horovod that fits what is installed, built at most once.

Horovod is never an ordinary requirement: pip would compile it in an isolated
environment, without TensorFlow, and say nothing.
"""

import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfdt.install import sources, wheel
from hfdt.install.compilation import Report
from hfdt.install.gpu import find_gpu
from hfdt.install.stack import (
    InstallError,
    Stack,
    find_mpi,
    find_tensorflow,
    newer_than_tested,
)

_TENSORFLOW_NAMES = ("tensorflow", "tensorflow-cpu", "tensorflow-rocm", "tf-nightly")
_CURE = "Build it for what is installed: hfdt install-horovod"
_CXX17 = """
#include <optional>
#if __cplusplus < 201703L
#error "older than C++17"
#endif
int main() { std::optional<int> value(0); return *value; }
"""


def install_horovod(
    *, rebuild: bool = False, jobs: int | None = None, report: Report = print
) -> Path:
    """Installs Horovod for this Python, TensorFlow and MPI, building it if it must.

    Args:
        rebuild: build and install again, whatever is installed or cached.
        jobs: compilers at a time; None takes what cores and memory allow.
        report: receives one line of text at a time.

    Returns:
        The folder of the installed package `horovod`.

    Raises:
        InstallError: A requirement is missing, or the build failed; the message has a
            way out.
    """
    stack = _look(report)
    if not rebuild and installed_record() == stack.record():
        report("Horovod is installed and fits. Nothing to do.")
        return _package_folder_or_fail()
    kept = None if rebuild else wheel.find_cached(stack)
    if kept:
        report(f"Installing the wheel built before: {kept}")
    else:
        require_compiler()
        kept = wheel.build(stack, jobs=jobs, report=report)
    sources.pip("install", "--force-reinstall", "--no-deps", "--no-index", str(kept))
    if error := check_installed():
        raise InstallError(error)
    report(f"Horovod {sources.HOROVOD_VERSION} is installed. Try it: hfdt doctor")
    return _package_folder_or_fail()


def check_installed() -> str | None:
    """Says what is wrong with the installed Horovod; cheap, as every rank asks.

    Returns:
        None if it was built for the installed TensorFlow, else one line with the cure.
    """
    folder = _package_folder()
    if folder is None:
        return f"hfdt needs Horovod. Received: no package horovod. {_CURE}"
    built = built_for_tensorflow(folder)
    if built is None:
        return (
            "Horovod must be built with TensorFlow. Received: a Horovod without it in "
            f"{folder}. {_CURE}"
        )
    present = tensorflow_version()
    if present is not None and present != built:
        return (
            "Horovod must be built for the TensorFlow that is installed. Received: "
            f"Horovod for TensorFlow {built}, and TensorFlow {present}. {_CURE}"
        )
    return None


def installed_record() -> dict[str, Any] | None:
    """Returns what the installed Horovod says it was built for; None if not ours."""
    folder = _package_folder()
    return _read_json(folder / sources.RECORD_NAME) if folder else None


def built_for_tensorflow(folder: Path) -> str | None:
    """Returns the TensorFlow version that Horovod's own build metadata names."""
    metadata = _read_json(folder / "metadata.json") or {}
    return metadata.get("tensorflow")


def tensorflow_version() -> str | None:
    """Returns the installed TensorFlow's version from its metadata, without import."""
    for name in _TENSORFLOW_NAMES:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def require_compiler(environ: Mapping[str, str] = os.environ) -> None:
    """Checks that the C++ compiler CMake will take can do C++17.

    Raises:
        InstallError: No compiler is found, or it is too old.
    """
    wanted = [environ["CXX"]] if environ.get("CXX") else ["c++", "g++", "clang++"]
    path = environ.get("PATH")
    # CXX may hold several words, such as "ccache g++".
    commands = [shlex.split(name) for name in wanted]
    found = next((words for words in commands if shutil.which(words[0], path=path)), [])
    received = f"none of {', '.join(wanted)} on the PATH"
    if found:
        command = [*found, "-std=c++17", "-x", "c++", "-fsyntax-only", "-"]
        child = subprocess.run(
            command, input=_CXX17, env=dict(environ), capture_output=True, text=True
        )
        if child.returncode == 0:
            return
        received = f"{shlex.join(found)}, which refuses -std=c++17"
    raise InstallError(
        f"Building Horovod needs a C++17 compiler. Received: {received}. "
        "Install one (Debian, Ubuntu: apt install g++) or name it in CXX."
    )


def _look(report: Report) -> Stack:
    tensorflow = find_tensorflow()
    if newer_than_tested(tensorflow.version):
        report(
            f"TensorFlow {tensorflow.version} is newer than 2.21, the last one Horovod "
            "was tried with here; the build may fail."
        )
    gpu, remark = find_gpu(tensorflow.cuda)
    if remark:
        report(remark)
    stack = Stack(tensorflow, find_mpi(), gpu)
    version = ".".join(map(str, sys.version_info[:3]))
    operations = f"NCCL (CUDA {gpu.cuda})" if gpu else "CPU only"
    report(
        f"Horovod {sources.HOROVOD_VERSION} for Python {version}, TensorFlow "
        f"{tensorflow.version}, {stack.mpi} ({stack.mpi.mpirun}), {operations}"
    )
    return stack


def _package_folder() -> Path | None:
    importlib.invalidate_caches()
    spec = importlib.util.find_spec("horovod")
    return Path(spec.origin).parent if spec and spec.origin else None


def _package_folder_or_fail() -> Path:
    folder = _package_folder()
    assert folder is not None  # pip and check_installed have just said so
    return folder


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
