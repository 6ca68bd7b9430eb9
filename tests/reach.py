"""What a test can reach, read from sources: other processes, and TensorFlow.

Sources are read and not imported, so that a test module that imports TensorFlow need
not be loaded to be left out. A name is written with all before it:
``tests.tables.Rows``, ``subprocess.run``.
"""

from __future__ import annotations

import ast
import functools
import pathlib
from collections.abc import Iterable, Iterator

ROOT = pathlib.Path(__file__).parents[1]
TESTS = ("tests", "benchmarks")
OURS = (*TESTS, "fdtcore", "hfdt", "nfdt")
TENSORFLOW = ("tensorflow", "keras", "tf_keras", "horovod")
STARTERS = (
    "subprocess",
    "multiprocessing",
    "pty",
    "os.fork",
    "os.execve",
    "os.system",
    "os.posix_spawn",
)
# Functions whose first argument is the name of a module.
IMPORTERS = ("importorskip", "import_module", "run_module")


@functools.cache
def reached(name: str) -> frozenset[str]:
    """Returns which of "process" and "tensorflow" a name of a test may lead to.

    The code under test counts for processes as far as names lead, for TensorFlow only
    with what importing it imports: much of it imports TensorFlow in functions that its
    pure tests never call.
    """
    found = set()
    if any(_is_below(used, STARTERS) for used in _followed(name, OURS)):
        found.add("process")
    for used in _followed(name, TESTS):
        module, _ = _split(used)
        if _is_below(used, TENSORFLOW) or (module and loads_tensorflow(module)):
            found.add("tensorflow")
    return frozenset(found)


def _followed(name: str, packages: Iterable[str]) -> set[str]:
    """Returns all names that a name uses, by way of modules of these packages."""
    seen, waiting = {name}, [name]
    while waiting:
        module, symbol = _split(waiting.pop())
        if _is_below(module, packages):
            used = _uses(module, symbol) - seen
            seen |= used
            waiting += used
    return seen


@functools.cache
def loads_tensorflow(module: str) -> bool:
    """Says whether importing a module of this project imports TensorFlow."""
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if _is_below(name, TENSORFLOW):
            return True
        parts = name.split(".")
        # Importing a.b.c imports a and a.b first.
        for count in range(1, len(parts) + 1):
            outer = ".".join(parts[:count])
            if outer not in seen and _path(outer) is not None:
                seen.add(outer)
                waiting += source(outer).loads
    return False


@functools.cache
def _uses(module: str, symbol: str) -> set[str]:
    return source(module).uses(symbol)


def module_of(path: pathlib.Path) -> str:
    """Returns the name of the module in a file of this project."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@functools.cache
def source(module: str) -> Source:
    """Returns the source of a module of this project, read once."""
    path = _path(module)
    assert path is not None, module
    return Source(module, path)


@functools.cache
def _path(module: str) -> pathlib.Path | None:
    """Returns the file of a module; None where it is none of this project."""
    if not _is_below(module, OURS):
        return None
    path = ROOT.joinpath(*module.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _split(whole: str) -> tuple[str, str]:
    """Returns the module of a name, empty where it is another's, and what it names."""
    parts = whole.split(".")
    for count in range(len(parts), 0, -1):
        if _path(".".join(parts[:count])) is not None:
            return ".".join(parts[:count]), ".".join(parts[count : count + 1])
    return "", whole


def _is_below(name: str, packages: Iterable[str]) -> bool:
    return any(name == p or name.startswith(f"{p}.") for p in packages)


class Source:
    """The source of one module.

    Args:
        name: As it is imported.
        path: Of the file.
    """

    def __init__(self, name: str, path: pathlib.Path):
        self._name = name
        self._package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        statements = list(_statements(ast.parse(path.read_text()).body))
        self._known = dict(pair for s in statements for pair in self._bound(s))
        defined = [(name, s) for s in statements for name in _defined(s)]
        self._known |= {bound: f"{name}.{bound}" for bound, _ in defined}
        # What importing this module imports.
        self.loads = {whole for s in statements for whole in self._imported(s)}
        self._statements: dict[str, list[ast.stmt]] = {}
        for bound, statement in defined:
            self._statements.setdefault(bound, []).append(statement)

    def uses(self, name: str) -> set[str]:
        """Returns the names that a name at the top level uses."""
        found: set[str] = set()
        for statement in self._statements.get(name, []):
            found |= self._used(statement)
        return found or ({self._known[name]} if name in self._known else set())

    def _used(self, statement: ast.stmt) -> set[str]:
        """Returns all names that a statement uses, wherever in it."""
        nodes = list(ast.walk(statement))
        found, known = set(self._imported(statement, deep=True)), dict(self._known)
        for node in nodes:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found |= set(self._imported(node))
                known |= dict(self._bound(node))
        for node in nodes:
            if isinstance(node, (ast.Name, ast.Attribute)):
                first, *rest = _dotted(node)
                if first in known:
                    found.add(".".join([known[first], *rest]))
        return found

    def _imported(self, node: ast.AST, deep: bool = False) -> Iterator[str]:
        """Yields what a statement imports; of a function only where it is deep."""
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            yield from (whole for _, whole in self._bound(node))
        elif deep or not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            for part in ast.walk(node):
                if isinstance(part, ast.Call) and _dotted(part.func)[-1] in IMPORTERS:
                    yield from (
                        word.value
                        for word in part.args[:1]
                        if isinstance(word, ast.Constant)
                    )

    def _bound(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        """Yields the names that an import binds, and what they stand for."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield (alias.asname or first), (alias.name if alias.asname else first)
        elif isinstance(node, ast.ImportFrom):
            parts = self._package.split(".")
            parts = parts[: len(parts) + 1 - node.level] if node.level else []
            parts += [node.module] if node.module else []
            for alias in node.names:
                yield alias.asname or alias.name, ".".join([*parts, alias.name])


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yields the statements that run when a module is imported."""
    for statement in body:
        is_if = isinstance(statement, ast.If)
        if is_if and _dotted(statement.test)[-1] == "TYPE_CHECKING":
            yield from _statements(statement.orelse)
        elif isinstance(statement, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
            for part in ("body", "orelse", "handlers", "finalbody"):
                for one in getattr(statement, part, []):
                    yield from _statements(getattr(one, "body", [one]))
        else:
            yield statement


def _defined(statement: ast.stmt) -> Iterator[str]:
    """Yields the names that a statement gives a meaning, other than by an import."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        yield statement.name
    elif not isinstance(statement, (ast.Import, ast.ImportFrom)):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _dotted(node: ast.AST) -> list[str]:
    """Returns the parts of ``a.b.c``; one empty part where it is something else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return [node.id, *parts] if isinstance(node, ast.Name) else [""]
