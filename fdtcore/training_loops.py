"""A search for the loops of a program that train.

A ``for`` statement trains if its body takes a gradient or applies one, or calls a
function of the same file that does. Loops that validate, plot or count do not.
"""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Iterable

_MARKS = frozenset({"GradientTape", "apply_gradients", "minimize"})
# What takes whole batches: its loops train, but are not given parts.
ON_BATCH = "train_on_batch"


@functools.lru_cache(maxsize=64)
def lines(path: str, *more: str) -> frozenset[int]:
    """Returns :func:`lines_of` for a file; none where it cannot be read."""
    try:
        source = "".join(linecache.getlines(path))  # a cell is in no file
        return lines_of(source, *more)
    except SyntaxError:
        return frozenset()


def lines_of(source: str, *more: str) -> frozenset[int]:
    """Returns the lines on which ``for`` statements that train name what they iterate.

    Args:
        source: Text of a Python file.
        *more: Names that mean training, beside those of gradients.
    """
    tree = ast.parse(source)
    trains = _training_functions(tree, more)
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and any(_names(b) & trains for b in node.body):
            found.update(range(node.lineno, (node.iter.end_lineno or 0) + 1))
    return frozenset(found)


def _training_functions(tree: ast.AST, more: Iterable[str]) -> frozenset[str]:
    """Names that, when they appear in a body, mean that it trains."""
    functions = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    known = {*_MARKS, *more}
    grown = True
    while grown:
        grown = False
        for function in functions:
            if function.name not in known and _names(function) & known:
                known.add(function.name)
                grown = True
    return frozenset(known)


def _names(node: ast.AST) -> set[str]:
    """Every name and attribute that occurs in a piece of a program."""
    return {
        n.id if isinstance(n, ast.Name) else n.attr
        for n in ast.walk(node)
        if isinstance(n, ast.Name | ast.Attribute)
    }
