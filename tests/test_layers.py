"""Which packages of others a module may import, and what importing starts.

Which module of the project stands above which is a contract in setup.cfg.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("fdtcore", "hfdt", "nfdt")
# Beside the modules of fdtcore.glue, those that speak TensorFlow's language.
GLUE = {
    "hfdt/api.py",
    "hfdt/collectives.py",
    "hfdt/communicator.py",
    "hfdt/finite.py",
    "hfdt/gradients.py",
    "hfdt/rates.py",
    "hfdt/runtime.py",
    "hfdt/training.py",
    "hfdt/install/selftest.py",
    "nfdt/api.py",
}
FILES = sorted(
    str(path.relative_to(ROOT))
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
)


def imports(source: str) -> set[str]:
    """Returns the top-level packages that a program imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


def forbidden(file: str) -> set[str]:
    """Returns what a file of the project must not import."""
    package = file.partition("/")[0]
    names = {"fdtcore": {"hfdt", "nfdt"}, "hfdt": {"nfdt"}, "nfdt": {"hfdt"}}[package]
    if package != "hfdt":
        names = names | {"horovod"}
    if file != "nfdt/cluster/mpi.py":
        names = names | {"mpi4py"}
    if "/glue/" not in file and file not in GLUE:
        names = names | {"tensorflow", "keras", "tf_keras"}
    return names


@pytest.mark.parametrize("file", FILES)
def test_arrows_point_the_right_way(file):
    wrong = imports((ROOT / file).read_text()) & forbidden(file)
    assert not wrong, f"{file} must not import {', '.join(sorted(wrong))}"


def test_every_named_module_of_glue_is_there_and_needs_to_be_named():
    for file in GLUE:
        assert imports((ROOT / file).read_text()) & {"tensorflow", "keras"}, file


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import keras.src.tree as tree", {"keras"}),
        ("def f():\n    from horovod.tensorflow import mpi_ops", {"horovod"}),
        ("if 0:\n    import numpy, hfdt", {"numpy", "hfdt"}),
        ("text = 'import tensorflow'", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(source, found):
    assert imports(source) == found


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("fdtcore/batch_shares.py", "hfdt"),
        ("fdtcore/glue/data.py", "nfdt"),
        ("fdtcore/glue/data.py", "horovod"),
        ("hfdt/engine.py", "nfdt"),
        ("hfdt/options.py", "tensorflow"),
        ("nfdt/__init__.py", "hfdt"),
        ("nfdt/__init__.py", "horovod"),
    ],
)
def test_what_is_forbidden(file, name):
    assert name in forbidden(file)


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_starts_nothing(package):
    program = (
        f"import sys, threading, {package}\n"
        "heavy = {'tensorflow', 'keras', 'horovod', 'mpi4py', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)), threading.active_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "[] 1\n", done.stderr
