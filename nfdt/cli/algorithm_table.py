"""The table of algorithms, and the equations of one, as text for a terminal."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Sequence

from nfdt import algorithms
from nfdt.algorithms import ALGORITHMS, DEFAULT, Algorithm
from nfdt.rules.corrections import Correction, NoCorrection
from nfdt.rules.optimizers import Optimizer

_WIDTHS = (17, 35, 6, 34)  # with two blanks between columns, below 100
_SENDS = {
    algorithms.GRADIENT: "the gradient of a batch",
    algorithms.LOOKAHEAD: "the gradient with the worker's own momentum ahead of it",
    algorithms.DELTA: "the parameter change of the worker's own optimizer",
    algorithms.ELASTIC: "the difference between its parameters and the shared ones",
}
_FOOT = (
    "* is the default. Memory: what the server holds besides the parameters, in units "
    "of them, with M workers. nfdt algorithms NAME shows the equations."
)
_LETTERS = (
    "g: the gradient, w: the parameters now, v: those that its worker pulled, tau: its "
    "staleness in updates, lr: the learning rate, M: the number of workers."
)


def table() -> str:
    """Returns all algorithms, one a row; no line is longer than 100 characters."""
    lines = _row(("name", "what it does", "memory", "source"))
    lines.append("  ".join("-" * width for width in _WIDTHS))
    for name, one in ALGORITHMS.items():
        marked = f"{name} *" if name == DEFAULT else name
        lines += _row((marked, one.summary, one.memory, one.source))
    return "\n".join([*lines, "", *textwrap.wrap(_FOOT, 99)])


def details(name: str) -> str:
    """Returns what one algorithm does, with the equations of its rules.

    Raises:
        ValueError: The algorithm is not in the table.
    """
    one = algorithms.find(name)
    parts = [
        f"{one.name}{' (the default)' if one.name == DEFAULT else ''}: {one.summary}",
        f"  a worker sends  {_SENDS.get(one.sends, one.sends)}\n"
        f"  server memory   {one.memory} times the parameters (M: workers)\n"
        f"  source          {one.source}",
        *_rules(one),
        textwrap.fill(_LETTERS, 88),
    ]
    return "\n\n".join(parts)


def _rules(one: Algorithm) -> list[str]:
    found = []
    if not isinstance(one.correction, NoCorrection):
        found += [f"Each late gradient: {one.correction}", _words(one.correction)]
    if one.optimizer is None:
        found.append("Update: the optimizer of the script, with its learning rate.")
    else:
        found += [f"Update: {one.optimizer}", _words(one.optimizer)]
    return found


def _words(rule: Correction | Optimizer) -> str:
    """Returns docstrings for who uses a rule: no marks, and no exceptions.

    What several rules have in common may stand at the head of their module; it is
    shown where it has equations.
    """
    common = inspect.getdoc(inspect.getmodule(type(rule))) or ""
    text = inspect.getdoc(type(rule)) or ""
    if "::" in common:
        text = f"{text.rstrip()}\n\n{common}"
    text = re.sub(r"(?m)^Raises:\n(?: .*\n?)+\n?", "", text).strip()
    text = re.sub(r":\w+:`~?([^`]+)`", r"\1", text)
    text = text.replace("``", "").replace("::\n", ":\n")
    text = re.sub(r"(?m)^:\n\n", "", text)
    return textwrap.indent(text, "  ")


def _row(cells: Sequence[str]) -> list[str]:
    columns = [
        textwrap.wrap(cell, width) or [""]
        for cell, width in zip(cells, _WIDTHS, strict=True)
    ]
    height = max(len(column) for column in columns)
    padded = [column + [""] * (height - len(column)) for column in columns]
    return [
        "  ".join(c.ljust(w) for c, w in zip(cells, _WIDTHS, strict=True)).rstrip()
        for cells in zip(*padded, strict=True)
    ]
