"""Optimizers that hold others, and the ones among them that take the steps.

``MultiOptimizer``, ``LossScaleOptimizer`` and a user's own wrapper have an ``apply``
that hands gradients on. What they hold may be known only later: a ``MultiOptimizer``
asks a function for it when it is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fdtcore.glue import keras_internals
from fdtcore.keras_types import Model, Optimizer

_WAYS_IN = ("apply", "apply_gradients")


def within(owner: Model | Optimizer) -> list[Any]:
    """Returns every optimizer that a model or an optimizer holds, each once.

    Args:
        owner: Searched in its attributes, in lists and dictionaries among them, and
            in what is found there.
    """
    found: dict[int, Any] = {id(owner): owner}
    for value in list(vars(owner).values()):
        _collect(value, found, set())
    return list(found.values())[1:]


def _collect(value: object, found: dict[int, Any], seen: set[int]) -> None:
    if isinstance(value, keras_internals.BaseOptimizer):
        if id(value) not in found:
            found[id(value)] = value
            for inner in list(vars(value).values()):
                _collect(inner, found, seen)
    elif id(value) not in seen:
        for inner in _items(value):
            seen.add(id(value))
            _collect(inner, found, seen)


def _items(value: Any) -> Iterator[Any]:
    if keras_internals.is_optimizer_map(value):
        yield from value.values()
        yield value.default_optimizer
    elif isinstance(value, dict):
        yield from list(value.values())
    elif isinstance(value, list | tuple | set):
        yield from value


def hands_on(optimizer: Optimizer) -> bool:
    """Whether an optimizer gives its gradients to others, which take the steps."""
    base = keras_internals.BaseOptimizer
    if all(getattr(type(optimizer), n) is getattr(base, n) for n in _WAYS_IN):
        return False
    return keras_internals.is_multi(optimizer) or bool(within(optimizer))


def steps_of(optimizer: Optimizer) -> list[Any]:
    """Returns the optimizers that take the steps of one: itself, or those it holds."""
    if optimizer is None:
        return []
    if not hands_on(optimizer):
        return [optimizer]
    return [one for one in within(optimizer) if not hands_on(one)]
