"""Horovod's wheel: built once, kept in the user's cache."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from hfdt.install import sources
from hfdt.install.compilation import Report, run_logged
from hfdt.install.stack import Stack

_BYTES_PER_JOB = 1_500_000_000  # TensorFlow's headers make a compiler this big


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Returns where wheels and build logs are kept."""
    home = environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(home, "hfdt")


def find_cached(stack: Stack) -> Path | None:
    """Returns the cached wheel that was built for exactly this stack, if any."""
    for wheel in Path(cache_folder(), "wheels", stack.key()).glob("horovod-*.whl"):
        # The folder's name is only where to look: the wheel itself says what it is.
        with contextlib.suppress(OSError, KeyError, ValueError, zipfile.BadZipFile):
            with zipfile.ZipFile(wheel) as archive:
                told = json.loads(archive.read(f"horovod/{sources.RECORD_NAME}"))
            if told == stack.record():
                return wheel
    return None


def build(stack: Stack, *, jobs: int | None, report: Report) -> Path:
    """Fetches, adapts and compiles Horovod, and puts the wheel into the cache.

    Args:
        stack: what to build for.
        jobs: compilers at a time; None takes what cores and memory allow.
        report: receives one line of text at a time.

    Returns:
        The wheel in the cache. It appears there complete or not at all.

    Raises:
        InstallError: A step failed; the message names its log, if it has one.
    """
    log = cache_folder() / "logs" / f"{stack.key()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hfdt-horovod-") as name:
        folder = Path(name)
        report("Fetching Horovod's sources ...")
        tools = _install_tools(folder / "tools")
        env = _environment(stack, folder, tools, jobs or _default_jobs())
        sources_folder = folder / "download"
        sources_folder.mkdir()
        source = sources.fetch(sources_folder, env)
        sources.adapt(source, stack)
        report(f"Compiling Horovod (a few minutes; log: {log})")
        command = [sys.executable, "setup.py", "bdist_wheel", "-d", str(folder)]
        run_logged(command, source, env, log=log, report=report)
        (wheel,) = folder.glob("horovod-*.whl")
        return _keep(wheel, stack)


def _keep(wheel: Path, stack: Stack) -> Path:
    folder = cache_folder() / "wheels" / stack.key()
    folder.mkdir(parents=True, exist_ok=True)
    # Copied under another name first: an interrupted copy is never taken for a wheel.
    partial = folder / f".{os.getpid()}.partial"
    try:
        shutil.copyfile(wheel, partial)
        return partial.replace(folder / wheel.name)
    finally:
        partial.unlink(missing_ok=True)


def _install_tools(folder: Path) -> Path:
    # Kept out of the user's environment, whose setuptools may be newer.
    cmake = [] if shutil.which("cmake") else [sources.CMAKE]
    sources.pip("install", "--target", str(folder), *sources.BUILD_TOOLS, *cmake)
    return folder


def _environment(stack: Stack, folder: Path, tools: Path, jobs: int) -> dict[str, str]:
    own = folder / "include"
    headers = sources.include_folders(stack.tensorflow.include, own)
    old = [text for text in [os.environ.get("CPLUS_INCLUDE_PATH")] if text]
    # An outer make hands down its own flags and job server: not for this build.
    inherited = {
        k: v for k, v in os.environ.items() if k not in ("MAKELEVEL", "MFLAGS")
    }
    path = [str(tools / "bin"), str(stack.mpi.compiler.parent), os.environ["PATH"]]
    modules = [str(tools), os.environ.get("PYTHONPATH", "")]
    env = inherited | {
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": os.pathsep.join(filter(None, modules)),
        "MAKEFLAGS": f"-j{jobs}",
        "CPLUS_INCLUDE_PATH": os.pathsep.join([*map(str, headers), *old]),
        "CMAKE_POLICY_VERSION_MINIMUM": "3.5",  # Gloo asks for an older CMake's ways
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TMPDIR": str(folder),  # a compiler that is killed leaves files there
        "HOROVOD_WITH_TENSORFLOW": "1",
        "HOROVOD_WITHOUT_PYTORCH": "1",
        "HOROVOD_WITHOUT_MXNET": "1",
        "HOROVOD_WITH_MPI": "1",
        "HOROVOD_WITH_GLOO": "1",
    }
    return env | _gpu_environment(stack, folder)


def _gpu_environment(stack: Stack, folder: Path) -> dict[str, str]:
    if stack.gpu is None:
        return {"HOROVOD_WITHOUT_NVTX": "1"}
    home = Path(stack.gpu.nccl_home)
    versioned = home / "lib" / "libnccl.so.2"
    if versioned.exists() and not Path(home, "lib", "libnccl.so").exists():
        # PyPI's NCCL lacks the name that linkers look for.
        link = folder / "nccl"
        (link / "lib").mkdir(parents=True)
        (link / "include").symlink_to(home / "include")
        (link / "lib" / "libnccl.so").symlink_to(versioned)
        home = link
    return {
        "HOROVOD_GPU_OPERATIONS": "NCCL",
        "HOROVOD_CUDA_HOME": stack.gpu.cuda_home,
        "HOROVOD_NCCL_HOME": str(home),
        "HOROVOD_NCCL_LINK": "SHARED",
    }


def _default_jobs() -> int:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(len(os.sched_getaffinity(0)), free // _BYTES_PER_JOB))
