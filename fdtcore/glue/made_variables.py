"""The variables of Keras that a process has made: models, optimizers, metrics, seeds.

A loop that is written by hand holds them in names of its own, so each is noted when it
is made, weakly: what the program has dropped is not kept.
"""

from __future__ import annotations

import functools
import gc
import weakref
from typing import Any

import keras
import tensorflow as tf

from fdtcore.engine import Collectives
from fdtcore.glue import binding, keras_internals, model_state, state, wrappers
from fdtcore.keras_types import Variable


class MadeVariables:
    """Notes variables of Keras in the order of their making."""

    def __init__(self) -> None:
        self._made: list[weakref.ref[Any]] = []
        self._num_tidy = 0  # of these, when what had been dropped was collected last
        # A script that calls ``distribute`` has made its model before.
        for one in gc.get_objects():
            if issubclass(type(one), keras.Variable):
                self.add(one)

    def add(self, variable: Variable) -> None:
        """Notes one more."""
        self._made.append(weakref.ref(variable))

    def all(self) -> list[Variable]:
        """Returns those that are left, in an order that no order of making changes.

        With variables of TensorFlow that an optimizer of Keras trains. By their texts;
        those of one text in the order in which they were made: a ``fit`` that was over
        builds optimizer and metrics in another order than one that trains.
        """
        if len(self._made) != self._num_tidy:
            gc.collect()  # what the program has dropped may be in cycles yet
        made = [(ref, ref()) for ref in self._made]
        self._made = [ref for ref, one in made if one is not None]
        self._num_tidy = len(self._made)
        held = [one for _, one in made if one is not None]
        for optimizer in list(binding.context().step_counts):
            for one in (optimizer, *wrappers.within(optimizer)):
                held += keras_internals.descended(one)
        own = keras_internals.made_seed_generator()  # kept with the other generators
        outside = () if own is None else (state.key(own.state),)
        unique = {state.key(v): v for v in held if _is_there(v)}
        left = [v for key, v in unique.items() if key not in outside]
        texts = model_state.described(left)
        order = sorted(range(len(left)), key=texts.__getitem__)
        return [left[i] for i in order]


def _is_there(variable: Variable) -> bool:
    raw = variable.value if isinstance(variable, keras.Variable) else variable
    return isinstance(raw, tf.Variable) and state.initialized(raw)


def patch() -> None:
    """Wraps the making of a variable."""
    inner = keras.Variable.__init__

    @functools.wraps(inner)
    def made(self: Variable, *args: Any, **kwargs: Any) -> None:
        inner(self, *args, **kwargs)
        noted = binding.context().made_variables
        if noted is not None:
            noted.add(self)

    keras.Variable.__init__ = made


def rules(collectives: Collectives, held: list[Variable]) -> list[str | None] | None:
    """Returns for each variable how its values on several ranks combine.

    None for those that are the same on all. All ranks call it.

    Args:
        collectives: Those of the ranks.
        held: What `MadeVariables.all` has returned.

    Returns:
        None where ranks hold different variables.
    """
    if collectives.process.size == 1:
        return [None] * len(held)
    texts = model_state.described(held)
    mine = [f"{t} {state.digest([v])}" for t, v in zip(texts, held, strict=True)]
    told = [text.split("\n") for text in collectives.allgather_text("\n".join(mine))]
    names = [[line.rpartition(" ")[0] for line in lines] for lines in told]
    if any(one != names[0] for one in names):
        return None
    differs = [len(set(lines)) > 1 for lines in zip(*told)]
    # Counts of a metric may be alike where its sums are not: all of it adds up.
    metrics = {_holder(v) for v, one in zip(held, differs, strict=True) if one}
    return [
        _rule(v) if one or _holder(v) in metrics - {None} else None
        for v, one in zip(held, differs, strict=True)
    ]


def _holder(variable: Variable) -> str | None:
    """Returns the scope of a metric that a variable is a part of; None without one."""
    if getattr(variable, "aggregation", None) != "sum":
        return None
    return str(variable.path.rpartition("/")[0])


def _rule(variable: Variable) -> str:
    """Returns how values combine that differ between ranks."""
    sums = [
        accumulator
        for optimizer in list(binding.context().step_counts)
        for one in (optimizer, *wrappers.within(optimizer))
        for accumulator in keras_internals.accumulators(one)
    ]
    if any(variable is one for one in sums):
        return "sum"
    return model_state.rule_of(variable)
