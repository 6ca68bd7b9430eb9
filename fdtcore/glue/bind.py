"""The entry point of the binding: an engine takes over Keras's methods."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

from fdtcore.engine import Engine
from fdtcore.glue import (
    allocation,
    binding,
    calls,
    data,
    fit,
    fit_run,
    loading,
    losses,
    made_variables,
    optimizer,
    saving,
    steps,
    trackers,
)

_PATCHED = (
    allocation,
    calls,
    data,
    fit,
    fit_run,
    loading,
    losses,
    made_variables,
    optimizer,
    saving,
    steps,
    trackers,
)


def bind(engine: Engine, *, everything: bool = False) -> binding.Binding:
    """Binds ``engine`` to Keras in this process.

    Args:
        engine: Engine that is bound to Keras.
        everything: Whether it owns every model and optimizer, as it does under a
            script that knows nothing of it; else those that are added to the result.

    Returns:
        What it owns.

    Raises:
        RuntimeError: Another engine is bound.
    """
    binding.register(engine, everything=everything)
    _patch()
    found = binding.current()
    assert found is not None
    return found


@functools.cache
def _patch() -> None:
    """Wraps methods of Keras and TensorFlow, once in a process."""
    for module in _PATCHED:
        module.patch()


@contextlib.contextmanager
def lent(engine: Engine) -> Iterator[None]:
    """Binds ``engine`` to everything for the time of the ``with`` block only."""
    with binding.unbound():
        bind(engine, everything=True)
        yield
