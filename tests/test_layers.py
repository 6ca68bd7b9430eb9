"""Which packages of others a module may import, and what importing starts.

Which module of the project stands above which is a contract in setup.cfg.
"""

import ast
import sys
from pathlib import Path

import pytest

from tests.processes import run

ROOT = Path(__file__).parent.parent
PACKAGES = ("fdtcore", "hfdt", "nfdt")
# Beside the modules of fdtcore.glue, those that speak TensorFlow's language.
GLUE = {
    "hfdt/api.py",
    "hfdt/collectives.py",
    "hfdt/communicator.py",
    "hfdt/compressed_sum.py",
    "hfdt/compression.py",
    "hfdt/finite.py",
    "hfdt/gradients.py",
    "hfdt/vectors.py",
    "hfdt/operations.py",
    "hfdt/rates.py",
    "hfdt/runtime.py",
    "hfdt/snapshots.py",
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


INTERNALS = "fdtcore/glue/keras_internals.py"
# Public by their documentation, though their names begin with an underscore: of named
# tuples, and of Python itself. And a member of our own.
PUBLIC = {
    *("_asdict", "_replace", "_fields", "_field_defaults"),
    *("_exit", "_getframe", "_current_frames", "_run_exitfuncs"),
    *("_NormalAccessor", "_forget_in_child"),
}
BY_NAME = {"getattr", "setattr", "hasattr", "delattr", "replaced"}


def internals(source: str) -> set[str]:
    """Returns what a program uses of others that is not public.

    Modules of Keras or TensorFlow, and attributes that begin with one underscore: of
    anything but the object whose method it is in, by themselves or by their name.
    """
    found: set[str] = set()
    _look(ast.parse(source), found, owns_self=False)
    return found - PUBLIC


def _look(node: ast.AST, found: set[str], *, owns_self: bool) -> None:
    name = ""
    if isinstance(node, ast.Attribute):
        owner = ast.unparse(node.value)
        is_own = owner == "super()" or (owns_self and owner in ("self", "cls"))
        name = "" if is_own else node.attr
    elif isinstance(node, ast.Call) and _name_of(node.func) in BY_NAME:
        texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
        name = next((text for text in texts if isinstance(text, str)), "")
    elif isinstance(node, ast.Import | ast.ImportFrom):
        module = getattr(node, "module", None) or node.names[0].name
        if f"{module}.".startswith(("keras.src.", "tensorflow.python.")):
            found.add(module)
    if name.startswith("_") and not name.startswith("__"):
        found.add(name)
    for child in ast.iter_child_nodes(node):
        owns = owns_self
        if isinstance(child, ast.FunctionDef):
            first = next((one.arg for one in child.args.args), "")
            if isinstance(node, ast.ClassDef):
                owns = True
            elif first in ("self", "cls"):  # that of the class that it is put into
                owns = False
        _look(child, found, owns_self=owns)


def _name_of(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


@pytest.mark.parametrize("file", sorted(set(FILES) - {INTERNALS}))
def test_what_is_not_public_is_used_in_one_module(file):
    used = internals((ROOT / file).read_text())
    assert not used, f"{file} uses {', '.join(sorted(used))}: go through {INTERNALS}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import keras.src.tree as tree", {"keras.src.tree"}),
        (
            "def f():\n    from tensorflow.python.ops import x",
            {"tensorflow.python.ops"},
        ),
        ("import keras\nfrom keras import tree", set()),
        ("layer._built", {"_built"}),
        ("setattr(layer, '_built', 1)", {"_built"}),
        ("with replaced(layer, '_built', 1): pass", {"_built"}),
        ("point._replace(x=1).__class__", set()),
        ("class A:\n    def f(self):\n        self._x = lambda: self._x", set()),
        ("class A:\n    def f(self, other):\n        other._x", {"_x"}),
        ("def f():\n    def g(self):\n        self._x", {"_x"}),
        (
            "class A:\n    def f(self):\n        def g(self):\n            self._x",
            {"_x"},
        ),
    ],
)
def test_what_is_not_public_is_found_wherever_it_is_used(source, found):
    assert internals(source) == found


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_starts_nothing(package):
    program = (
        f"import sys, threading, {package}\n"
        "heavy = {'tensorflow', 'keras', 'horovod', 'mpi4py', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)), threading.active_count())"
    )
    done = run(sys.executable, "-c", program)
    assert done.stdout == "[] 1\n", done.stderr
