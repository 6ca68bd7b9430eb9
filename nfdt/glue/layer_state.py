"""The state that layers keep apart from trained variables, merged over workers.

Moving statistics, counts of steps, schedules in variables that no optimizer trains:
each worker goes on with its own through an epoch, and at its end all meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from keras import Variable

from fdtcore import output
from fdtcore.glue import keras_internals, state
from fdtcore.keras_types import Model
from nfdt.glue.collectives import WorkerCollectives
from nfdt.glue.epochs import Epochs
from nfdt.rules.layer_state import Tally, merged

_NUMBERS = ("float", "bfloat", "int", "uint", "bool")


class LayerState:
    """What one worker has of each variable at the last meeting and since.

    Args:
        collectives: Those of the workers.
        epochs: This worker's count of epochs, and its leases.
    """

    def __init__(self, collectives: WorkerCollectives, epochs: Epochs):
        self._collectives, self._epochs = collectives, epochs
        self._model: Model = None
        self._base: list[np.ndarray] = []
        self._first: list[np.ndarray] = []
        self._num_first = 0

    def begin(self, model: Model) -> None:
        """Begins an epoch: the variables have the same values on all workers."""
        self._model, self._first, self._num_first = None, [], 0
        self.see(model)

    def see(self, model: Model) -> None:
        """Keeps the values before the first step, if they are known."""
        if self._collectives.process.size == 1 or not model.built:
            return
        found = _variables(model)
        if self._model is None and all(state.initialized(v) for v in found):
            self._model, self._base = model, _values(found)

    def stepped(self, model: Model, num_steps: Callable[[], int]) -> None:
        """Looks at the values after the first steps of an epoch.

        Args:
            model: The user's Keras model.
            num_steps: Returns how many they were.
        """
        if not self._num_first and model is self._model:
            self._num_first, self._first = num_steps(), _values(_variables(model))

    def meet(self, model: Model) -> None:
        """Brings all workers' values together, at the end of an epoch."""
        if self._collectives.process.size == 1:
            return
        found = _variables(model) if model is self._model else []
        num_steps = self._epochs.taken if self._first else 0
        # What has not changed is not sent: it may be a whole quantized model.
        own = [
            (None, None)
            if np.array_equal(first, base) and np.array_equal(last, base)
            else (first, last)
            for base, first, last in zip(self._base, self._first, _values(found))
        ]
        brought = self._collectives.gather([self._num_first, num_steps, own], "tallies")
        for place, (variable, base) in enumerate(zip(found, self._base)):
            tallies = [
                Tally(num_first, *_after(num_steps, base, theirs[place]))
                for num_first, num_steps, theirs in brought
                if num_steps
            ]
            value, is_known = merged(base, tallies)
            variable.assign(value)
            if not is_known:
                self._say(variable)

    def _say(self, variable: Variable) -> None:
        output.say(
            self._collectives.process,
            f"{variable.path} changes by itself from step to step, and each worker "
            "counts its own batches only: its value counts fewer steps than one "
            "process makes. Compute it from an integer count of steps, which is "
            "summed.",
        )


def _variables(model: Model) -> list[Any]:
    """Numbers and flags that layers write themselves; no seeds, no texts."""
    found = {
        id(v): v
        for layer in keras_internals.layers_of(model)
        for v in keras_internals.own_state(layer)
        if isinstance(v, Variable) and state.dtype_of(v).startswith(_NUMBERS)
    }
    return list(found.values())


def _after(
    num_steps: int, base: np.ndarray, changed: tuple[Any, Any]
) -> tuple[Any, int, Any]:
    """Returns the values after the first and all steps, and how many those were."""
    first, last = changed
    return (base, num_steps, base) if first is None else (first, num_steps, last)


def _values(variables: list[Any]) -> list[np.ndarray]:
    with tf.init_scope():  # a step that is traced asks, too
        return [np.array(v.numpy()) for v in variables]
