"""Joint calls: calls that every rank makes, reported to the others while they run.

What TensorFlow has traced runs without Python. So a ``tf.function`` in which an
operation of all ranks was traced counts as one such call each time it runs, and what
the strategy finds out inside is raised in place of TensorFlow's error.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from fdtcore import output
from fdtcore.engine import Collectives
from fdtcore.glue import binding, keras_internals
from fdtcore.glue.step import NeedsCollective

# Functions that communicate: by which collectives, and how often each was run.
_joint: weakref.WeakKeyDictionary[Any, Collectives] = weakref.WeakKeyDictionary()
_runs: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
# What runs in place of functions that XLA was to compile.
_uncompiled: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
# Functions that are being traced or run, the outermost first, and what to end then.
_running: list[tuple[Any, contextlib.ExitStack]] = []


class Communicates(Exception):
    """What was to be computed by one rank alone wanted to communicate."""


# Whether this rank computes by itself what the others do not.
_alone: list[bool] = [False]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Refuses operations of all ranks while the block runs.

    Raises:
        Communicates: A joint operation was called.
    """
    _alone.append(True)
    try:
        yield
    finally:
        _alone.pop()


@contextlib.contextmanager
def joined(collectives: Collectives, label: str) -> Iterator[None]:
    """Surrounds an operation of all ranks, which runs now or is traced.

    Args:
        collectives: Those of the ranks.
        label: What it is called in messages.
    """
    if _alone[-1]:
        raise Communicates(label)
    with contextlib.ExitStack() as stack:
        if tf.executing_eagerly():
            stack.enter_context(collectives.joining(label))
        elif _running and _running[0][0] not in _joint:
            function, until_end = _running[0]
            _joint[function] = collectives
            until_end.enter_context(collectives.joining(_label(function)))
        yield


def is_running() -> bool:
    """Whether a ``tf.function`` is being traced or run."""
    return bool(_running)


def patch() -> None:
    """Wraps the call of every ``tf.function``."""
    function = keras_internals.Function
    function.__call__ = _told(function.__call__)


def _told(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        self = _uncompiled.get(self, self)
        try:
            with _run(self):
                return inner(self, *args, **kwargs)
        except NeedsCollective:
            if not keras_internals.is_compiled(self):
                raise
            replacement = _without_xla(self)
        except tf.errors.OpError:
            bound = binding.current()
            finding = bound.engine.strategy.finding if bound else None
            if finding and self in _joint:
                raise finding.with_traceback(None) from None
            raise
        return replacement(*args, **kwargs)

    return call


@contextlib.contextmanager
def _run(function: Any) -> Iterator[None]:
    if _running or not tf.executing_eagerly():
        yield  # part of the run of another
        return
    with contextlib.ExitStack() as stack:
        _running.append((function, stack))
        stack.callback(_running.pop)
        if function in _joint:
            stack.enter_context(_joint[function].joining(_label(function)))
        yield


def _label(function: Any) -> str:
    _runs[function] = _runs.get(function, 0) + 1
    return f"run {_runs[function]} of tf.function {_name(function)}"


def _without_xla(function: Any) -> Any:
    bound = binding.current()
    assert bound is not None  # it has patched the call
    output.say(
        bound.engine.process,
        f"tf.function {_name(function)} runs without XLA: it needs all ranks in its "
        "middle. The numbers are the same.",
    )
    _uncompiled[function] = keras_internals.uncompiled(function)
    return _uncompiled[function]


def _name(function: Any) -> str:
    return getattr(function.python_function, "__name__", "of a callable object")
