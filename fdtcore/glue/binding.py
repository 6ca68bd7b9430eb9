"""The models and optimizers that an engine owns."""

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from collections.abc import Iterator
from typing import Any

from fdtcore import output
from fdtcore.engine import Engine
from fdtcore.glue import wrappers
from fdtcore.glue.context import Context
from fdtcore.keras_types import Model, Optimizer


@dataclasses.dataclass
class Binding:
    """An engine and what it owns.

    Args:
        engine: Engine that is bound to Keras.
        everything: Whether it owns whatever this process trains, as it does under a
            script that knows nothing of it.
        models: The models it owns otherwise, with the optimizers that they hold.
        optimizers: The optimizers it owns otherwise, with those that they hold.
        context: What is under way, and what was detected so far.
    """

    engine: Engine
    context: Context
    everything: bool = False
    models: weakref.WeakSet[Any] = dataclasses.field(default_factory=weakref.WeakSet)
    optimizers: weakref.WeakSet[Any] = dataclasses.field(
        default_factory=weakref.WeakSet
    )


# The only state of this package that no object holds: where all else is found.
_binding: Binding | None = None
# That of the binding, or what it will take over: a data set may be split before.
_context = Context()


def register(engine: Engine, *, everything: bool = False) -> None:
    """Makes ``engine`` the one of this process; it is bound once.

    Args:
        engine: Engine that is bound to Keras.
        everything: Whether it owns every model and optimizer.

    Raises:
        RuntimeError: Another engine is bound.
    """
    global _binding
    if _binding is None:
        _binding = Binding(engine, _context)
        output.speak_as(engine.name)
    if _binding.engine is not engine:
        raise RuntimeError(
            "a process trains with one framework. "
            f"Received: {engine!r} in addition to {_binding.engine!r}. "
            "Call distribute of one of them only."
        )
    _binding.everything = _binding.everything or everything


@contextlib.contextmanager
def unbound() -> Iterator[None]:
    """Leaves this process without a binding at first, and restores its own."""
    global _binding, _context
    before = _binding, _context
    _binding, _context = None, Context()
    try:
        yield
    finally:
        _binding, _context = before


def current() -> Binding | None:
    """Returns the binding of this process, if there is one."""
    return _binding


def context() -> Context:
    """Returns what is under way in this process, whether an engine is bound or not."""
    return _context


def engine_of_model(model: Model) -> Engine | None:
    """Returns the engine that owns ``model``, if one does."""
    if _binding and (_binding.everything or model in _binding.models):
        return _binding.engine
    return None


def leave_alone(optimizer: Optimizer) -> None:
    """Notes that an optimizer is a framework's own, whose steps are nobody else's."""
    _context.left_alone.add(optimizer)


def engine_of_optimizer(optimizer: Optimizer) -> Engine | None:
    """Returns the engine that owns ``optimizer``, if one does."""
    if _binding is None or optimizer in _context.left_alone:
        return None
    if not _binding.everything and optimizer not in _binding.optimizers:
        owners = [*_binding.models, *_binding.optimizers]
        if not any(optimizer is o for owner in owners for o in wrappers.within(owner)):
            return None
        _binding.optimizers.add(optimizer)
    return _binding.engine


def is_left_alone(optimizer: Optimizer) -> bool:
    """Whether an optimizer is a framework's own."""
    return optimizer in _context.left_alone


@contextlib.contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Gives ``owner`` another attribute for the time of the ``with`` block."""
    before, is_own = getattr(owner, name), name in vars(owner)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if is_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
