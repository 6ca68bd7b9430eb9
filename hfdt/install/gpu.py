"""GPU support of Horovod: CUDA, NCCL, and a TensorFlow built for them."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_MISSING = "Horovod is built for CPU: a CUDA compiler was found, but {what}."


@dataclass(frozen=True)
class Gpu:
    """What Horovod's GPU operations are compiled with."""

    cuda: str  # version of the toolkit, such as "12.5"
    cuda_home: str
    nccl_home: str  # holds include/nccl.h and lib/libnccl.so or libnccl.so.2


def find_gpu(
    tensorflow_cuda: str | None, environ: Mapping[str, str] = os.environ
) -> tuple[Gpu | None, str | None]:
    """Looks for CUDA and NCCL that suit the installed TensorFlow.

    Args:
        tensorflow_cuda: the CUDA version TensorFlow was built with, None for CPU.
        environ: the environment; CUDA_HOME and HOROVOD_NCCL_HOME are heeded.

    Returns:
        The GPU stack or None, and one line saying what was missing where a CUDA
        compiler shows that a GPU build may have been wanted.
    """
    if tensorflow_cuda is None:
        return None, None
    compiler = _cuda_compiler(environ)
    if compiler is None:
        return None, None
    cuda = _cuda_version(compiler)
    if cuda.split(".")[0] != tensorflow_cuda.split(".")[0]:
        what = f"it is CUDA {cuda} and TensorFlow was built with {tensorflow_cuda}"
        return None, _MISSING.format(what=what)
    for home in _nccl_places(environ):
        if Path(home, "include", "nccl.h").is_file():
            return Gpu(cuda, str(compiler.parent.parent), str(home)), None
    what = "no NCCL (nccl.h); name its folder in HOROVOD_NCCL_HOME"
    return None, _MISSING.format(what=what)


def _cuda_compiler(environ: Mapping[str, str]) -> Path | None:
    homes = [environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if environ.get(name)]
    folders = [f"{home}/bin" for home in homes] + [environ.get("PATH", "")]
    found = shutil.which(
        "nvcc", path=os.pathsep.join([*folders, "/usr/local/cuda/bin"])
    )
    return Path(found).resolve() if found else None


def _cuda_version(compiler: Path) -> str:
    command = [str(compiler), "--version"]
    text = subprocess.run(command, capture_output=True, text=True).stdout
    found = re.search(r"release (\d+\.\d+)", text)
    return found.group(1) if found else "unknown"


def _nccl_places(environ: Mapping[str, str]) -> Iterator[Path]:
    for name in ("HOROVOD_NCCL_HOME", "NCCL_HOME", "CUDA_HOME"):
        if environ.get(name):
            yield Path(environ[name])
    # tensorflow[and-cuda] brings NCCL as the namespace package nvidia.nccl.
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield Path(folder, "nccl")
    yield from (Path("/usr/local/cuda"), Path("/usr"))
