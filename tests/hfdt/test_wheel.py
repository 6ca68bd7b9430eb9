"""The cache of wheels: the right one, whole, or none."""

import dataclasses
import json
import os
import zipfile
from pathlib import Path

import pytest

from hfdt.install import sources, wheel
from hfdt.install.gpu import Gpu
from hfdt.install.stack import Stack
from tests.hfdt.stacks import MPI, STACK

OTHER = dataclasses.replace(STACK, mpi=dataclasses.replace(MPI, version="4.1.4"))
NAME = "horovod-0.28.1-cp311-cp311-linux_x86_64.whl"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """Gives each test a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hfdt"


def built(folder: Path, stack: Stack) -> Path:
    """Makes a wheel that says it was built for this stack."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        name = f"horovod/{sources.RECORD_NAME}"
        archive.writestr(name, json.dumps(stack.record()))
    return folder / NAME


def test_cache_is_in_the_users_cache_folder(cache, monkeypatch):
    assert wheel.cache_folder() == cache
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    assert wheel.cache_folder() == Path("/home/user/.cache/hfdt")


def test_what_is_kept_is_found_again(tmp_path):
    kept = wheel._keep(built(tmp_path, STACK), STACK)
    assert wheel.find_cached(STACK) == kept
    assert wheel.find_cached(OTHER) is None


def test_a_wheel_for_other_versions_is_never_taken(cache):
    built(cache / "wheels" / STACK.key(), OTHER)
    assert wheel.find_cached(STACK) is None


def test_a_broken_wheel_is_never_taken(cache):
    path = built(cache / "wheels" / STACK.key(), STACK)
    os.truncate(path, 40)
    assert wheel.find_cached(STACK) is None


def test_a_wheel_without_record_is_never_taken(cache):
    path = built(cache / "wheels" / STACK.key(), STACK)
    zipfile.ZipFile(path, "w").close()
    assert wheel.find_cached(STACK) is None


def test_interrupting_the_copy_leaves_nothing(tmp_path, cache, monkeypatch):
    def interrupted(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(wheel.shutil, "copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wheel._keep(built(tmp_path, STACK), STACK)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


@pytest.fixture
def include(tmp_path) -> Path:
    """Makes TensorFlow's headers, as far as they are asked for."""
    for name in sources.MOVED_HEADERS:
        (tmp_path / "tf" / name).parent.mkdir(parents=True)
        (tmp_path / "tf" / name).touch()
    return tmp_path / "tf"


def environment(include: Path, folder: Path, **changes: object) -> dict[str, str]:
    tensorflow = dataclasses.replace(STACK.tensorflow, include=include)
    stack = dataclasses.replace(STACK, tensorflow=tensorflow, **changes)
    return wheel._environment(stack, folder, folder / "tools", 3)


def test_build_ignores_the_make_around_it(tmp_path, include, monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", "n -j --jobserver-auth=3,4")
    monkeypatch.setenv("MAKELEVEL", "2")
    env = environment(include, tmp_path)
    assert env["MAKEFLAGS"] == "-j3"
    assert "MAKELEVEL" not in env


def test_build_keeps_the_users_folders_behind_its_own(tmp_path, include, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/module/tensorflow")
    monkeypatch.setenv("CPLUS_INCLUDE_PATH", "/module/include")
    env = environment(include, tmp_path)
    assert env["PYTHONPATH"].split(":") == [f"{tmp_path}/tools", "/module/tensorflow"]
    assert env["CPLUS_INCLUDE_PATH"].split(":")[-1] == "/module/include"
    assert env["PATH"].split(":")[1] == str(MPI.compiler.parent)


def test_what_killed_compilers_leave_is_removed_with_the_build(tmp_path, include):
    assert environment(include, tmp_path)["TMPDIR"] == str(tmp_path)


def test_build_without_gpu_asks_for_no_gpu_operations(tmp_path, include):
    env = environment(include, tmp_path)
    assert not [name for name in env if "NCCL" in name or "CUDA_HOME" in name]
    assert (env["HOROVOD_WITH_MPI"], env["HOROVOD_WITH_GLOO"]) == ("1", "1")
    assert env["HOROVOD_WITH_TENSORFLOW"] == "1"


def test_nccl_of_pypi_gets_the_name_linkers_look_for(tmp_path, include):
    (tmp_path / "nvidia/lib").mkdir(parents=True)
    (tmp_path / "nvidia/lib/libnccl.so.2").touch()
    gpu = Gpu("12.5", "/cuda", str(tmp_path / "nvidia"))
    env = environment(include, tmp_path, gpu=gpu)
    assert env["HOROVOD_GPU_OPERATIONS"] == "NCCL"
    assert env["HOROVOD_CUDA_HOME"] == "/cuda"
    assert Path(env["HOROVOD_NCCL_HOME"], "lib/libnccl.so").exists()
