"""A search for random generators that no seed makes equal on all processes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

# What makes a generator of its own; without an argument it draws its own seed.
_MAKERS = frozenset({"default_rng", "RandomState", "Random"})
_ALWAYS = frozenset({"SystemRandom", "urandom", "token_bytes", "token_hex"})
_STATES = frozenset({"from_non_deterministic_state"})


def unseeded(source: str) -> Iterator[tuple[int, str]]:
    """Yields line and text of each call that draws differently on each process.

    Args:
        source: Text of a Python file.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = getattr(function, "attr", getattr(function, "id", ""))
        is_bare = not node.args and not node.keywords
        if (name in _MAKERS and is_bare) or name in _ALWAYS | _STATES:
            yield node.lineno, ast.unparse(node)
