"""What `hfdt install-horovod` decides, and the check that every rank makes."""

import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest

from hfdt.install import install
from hfdt.install.install import check_installed, install_horovod, require_compiler
from hfdt.install.sources import RECORD_NAME
from hfdt.install.stack import InstallError
from tests.hfdt.stacks import STACK, program
from tests.processes import run

CURE = "hfdt install-horovod"


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """Installs a Horovod of files only, for TensorFlow 2.21.0."""
    folder = tmp_path / "horovod"
    folder.mkdir()
    (folder / "__init__.py").touch()
    write(folder / "metadata.json", {"tensorflow": "2.21.0", "dummy": "none"})
    place(monkeypatch, folder)
    monkeypatch.setattr(install, "tensorflow_version", lambda: "2.21.0")
    return folder


def place(monkeypatch, folder: Path | None) -> None:
    spec = folder and types.SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def write(path: Path, record: object) -> None:
    path.write_text(json.dumps(record))


def test_a_horovod_for_this_tensorflow_is_right(package):
    assert check_installed() is None


def test_no_horovod(package, monkeypatch):
    place(monkeypatch, None)
    assert "no package horovod" in check_installed()
    assert CURE in check_installed()


def test_horovod_for_another_tensorflow_names_both(package, monkeypatch):
    monkeypatch.setattr(install, "tensorflow_version", lambda: "2.20.0")
    message = check_installed()
    assert "Horovod for TensorFlow 2.21.0, and TensorFlow 2.20.0" in message
    assert CURE in message
    assert "\n" not in message


@pytest.mark.parametrize("content", ["{}", '{"torch": "2.0"}', "not json", "[]"])
def test_horovod_without_tensorflow(package, content):
    (package / "metadata.json").write_text(content)
    assert "built with TensorFlow" in check_installed()
    assert CURE in check_installed()


def test_check_loads_neither_tensorflow_nor_horovod():
    code = (
        "import sys; from hfdt.install.install import check_installed; "
        "check_installed(); "
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('tensorflow', 'keras', 'horovod', 'mpi4py')])"
    )
    done = run(sys.executable, "-c", code)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def steps(package, monkeypatch, no_process) -> list[str]:
    """Replaces looking, building and pip; returns what was done."""
    done: list[str] = []

    def build(stack, *, jobs, report):
        done.append(f"build {jobs}")
        return Path("/built.whl")

    def pip(*arguments):
        done.append(f"{arguments[0]} {arguments[-1]}")
        assert "--no-deps" in arguments
        write(package / RECORD_NAME, STACK.record())

    monkeypatch.setattr(install, "_look", lambda report: STACK)
    monkeypatch.setattr(install, "require_compiler", lambda: done.append("compiler"))
    monkeypatch.setattr(install.wheel, "build", build)
    monkeypatch.setattr(install.wheel, "find_cached", lambda stack: None)
    monkeypatch.setattr(install.sources, "pip", pip)
    return done


def test_nothing_is_done_twice(package, steps):
    said: list[str] = []
    assert install_horovod(report=said.append) == package
    assert steps == ["compiler", "build None", "install /built.whl"]
    assert install_horovod(report=said.append) == package
    assert len(steps) == 3
    assert "Nothing to do" in said[-1]


def test_a_cached_wheel_needs_no_compiler(steps, monkeypatch):
    monkeypatch.setattr(install.wheel, "find_cached", lambda stack: Path("/old.whl"))
    install_horovod(report=lambda text: None)
    assert steps == ["install /old.whl"]


def test_rebuild_builds_whatever_is_there(package, steps, monkeypatch):
    write(package / RECORD_NAME, STACK.record())
    monkeypatch.setattr(install.wheel, "find_cached", lambda stack: Path("/old.whl"))
    install_horovod(rebuild=True, jobs=4, report=lambda text: None)
    assert steps == ["compiler", "build 4", "install /built.whl"]


def test_horovod_built_for_other_things_is_replaced(package, steps):
    write(package / RECORD_NAME, {**STACK.record(), "mpi": "Open MPI 4.1.4"})
    install_horovod(report=lambda text: None)
    assert steps[-1] == "install /built.whl"


def test_an_install_that_does_not_fit_is_an_error(steps, monkeypatch):
    monkeypatch.setattr(install, "tensorflow_version", lambda: "2.20.0")
    with pytest.raises(InstallError, match=r"TensorFlow 2\.20\.0"):
        install_horovod(report=lambda text: None)


def test_compiler_on_the_path_is_taken(tmp_path):
    program(tmp_path, "g++")
    require_compiler({"PATH": f"{tmp_path}:/usr/bin:/bin"})


def test_no_compiler_says_how_to_get_one(tmp_path):
    with pytest.raises(InstallError, match=r"apt install g\+\+"):
        require_compiler({"PATH": str(tmp_path)})


def test_a_compiler_that_refuses_is_named():
    with pytest.raises(InstallError, match="false, which refuses"):
        require_compiler({"PATH": "/usr/bin:/bin", "CXX": "false"})
