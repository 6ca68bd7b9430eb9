"""The state that all ranks must share before training: built, compared, broadcast."""

from __future__ import annotations

import contextlib
import hashlib
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, tree

from fdtcore.engine import Array, Collectives
from fdtcore.glue import binding, keras_internals, wrappers
from fdtcore.keras_types import Model, Optimizer, Structure, Tensor, Variable
from fdtcore.process import Process

# Odd, so that seeds of different ranks stay different modulo 2**32.
_SEED_STRIDE = 0x9E3779B1


class InitialState:
    """Makes models and optimizers begin alike on all ranks; knows which have.

    Args:
        collectives: Those of the ranks.
        framework: Its name, for messages.
    """

    def __init__(self, collectives: Collectives, framework: str):
        self._collectives, self._framework = collectives, framework
        self._alike: weakref.WeakSet[Any] = weakref.WeakSet()

    def __contains__(self, owner: Model | Optimizer) -> bool:
        return owner in self._alike

    def share(self, model: Model) -> None:
        """Gives every rank rank 0's state of a model, each its own dropout draws.

        Args:
            model: The user's Keras model, built.

        Raises:
            ValueError: Ranks have built different models.
        """
        collectives = self._collectives
        if collectives.process.size == 1:
            return
        variables = of_model(model)
        collectives.agree(described(variables), f"model {model.name!r}")
        collectives.broadcast(variables)
        part_seeds(collectives.process, model)
        self._alike.add(model)
        if (optimizer := compiled_with(model)) is not None:
            self._alike.add(optimizer)

    def share_optimizer(
        self, optimizer: Optimizer, trained: Sequence[Variable]
    ) -> None:
        """Gives every rank rank 0's state of an optimizer, if none has been given yet.

        Args:
            optimizer: The optimizer, built, of a loop written by hand.
            trained: The variables that it trains.

        Raises:
            ValueError: Ranks train different variables, or have made an eager step with
                different values.
        """
        if optimizer in self._alike:
            return
        eager = tf.executing_eagerly()
        with tf.init_scope():
            about = f"variables of {optimizer.name}"
            self._collectives.agree(described(trained), about)
            if eager:
                self._check_values(trained)
            # Variables made while TensorFlow traces have no value yet to agree on.
            held = [*trained, *of_optimizer(optimizer)]
            self._collectives.broadcast([v for v in held if initialized(v)])
            self._alike.add(optimizer)

    def _check_values(self, trained: Sequence[Variable]) -> None:
        """Refuses values that differ and that an eager step has used: too late."""
        if len(set(self._collectives.allgather_text(digest(trained)))) == 1:
            return
        raise ValueError(
            "an eager loop must begin with the same weights on every rank. Received: "
            "a model that was not built when it was distributed, so each rank drew "
            "its own. Build it first (model.build(input_shape), or call it on a "
            f"batch), then call {self._framework}.distribute."
        )


def build(model: Model, data: Structure) -> bool:
    """Builds a model, its metrics, loss and optimizer from a batch, as Keras would.

    Args:
        model: The user's Keras model.
        data: A batch, its symbolic form, or its specification.

    Returns:
        Whether the model could be built without a run.
    """
    is_own = type(model).train_step is not keras_internals.Trainer.train_step
    # A step of the user's own may train a part of the variables with it.
    kept = binding.replaced(model, "optimizer", None) if is_own else nullcontext()
    with tf.init_scope(), contextlib.suppress(Exception), kept:
        # Whatever is wrong with the model, Keras says it better when it runs it.
        batch = tree.map_structure(_symbolic, data)
        keras_internals.build_symbolically(model, batch)
    return model.built


def check(collectives: Collectives, model: Model) -> None:
    """Refuses weights that differ between ranks though all made the same steps.

    Raises:
        ValueError: The ranks' variables differ.
    """
    if len(set(collectives.allgather_text(digest(model.trainable_variables)))) > 1:
        raise ValueError(
            "ranks must begin with the same weights. Received: a model that is built "
            f"while it trains ({model.name!r}), so each rank drew its own. Build it, "
            "or call it on a batch, before fit."
        )


def digest(variables: Sequence[Variable]) -> str:
    """Returns a text that changes when a value of the variables does."""
    found = hashlib.sha256()
    for variable in variables:
        found.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return found.hexdigest()


def _symbolic(leaf: Tensor) -> Any:
    if getattr(leaf, "shape", None) is None:
        return leaf
    shape = [None, *leaf.shape[1:]] if leaf.shape.rank else leaf.shape
    is_sparse = isinstance(leaf, tf.SparseTensor | tf.SparseTensorSpec)
    return KerasTensor(shape, leaf.dtype.name, sparse=is_sparse)


def is_overwritten(variable: Variable) -> bool:
    """Whether what stands in place of a variable's gradient is its new value.

    So the layers of float8 keep the largest values that they have seen. Optimizers
    of Keras assign it, and take the maximum where there are several.
    """
    return bool(getattr(variable, "overwrite_with_gradient", False))


def overwritten(model: Model) -> list[Variable]:
    """Returns the trainable variables of a model that are not descended."""
    return [v for v in model.trainable_variables if is_overwritten(v)]


def initialized(variable: Variable) -> bool:
    """Whether a variable has its first value."""
    raw = variable.value if isinstance(variable, keras.Variable) else variable
    with tf.init_scope():
        return bool(tf.compat.v1.is_variable_initialized(raw))


def of_model(model: Model) -> list[Variable]:
    """Returns every variable that training reads or writes, each once."""
    held = [*model.variables, *model.metrics_variables, *_raw(model)]
    held += of_optimizer(compiled_with(model))
    return list({key(v): v for v in held if initialized(v)}.values())


def compiled_with(model: Model) -> Optimizer | None:
    """Returns the optimizer of a model; None before it is compiled."""
    return getattr(model, "optimizer", None)


def of_optimizer(optimizer: Optimizer) -> list[Variable]:
    """Returns the variables of an optimizer and of those that it holds, each once."""
    held = [] if optimizer is None else [optimizer, *wrappers.within(optimizer)]
    return list({key(v): v for one in held for v in one.variables}.values())


def described(variables: Sequence[Variable]) -> str:
    """Returns one line a variable: its path, shape and dtype."""
    return "\n".join(
        f"{getattr(v, 'path', v.name)} {tuple(v.shape)} {dtype_of(v)}"
        for v in variables
    )


def part_seeds(process: Process, model: Model) -> None:
    """Moves the seeds of layers apart, so that dropout differs between ranks."""
    rank = process.rank
    for layer in keras_internals.layers_of(model) if rank else ():
        for generator in keras_internals.seed_generators(layer):
            seed = generator.state.numpy()
            generator.state.assign(moved_apart(seed, rank))


def moved_apart(seed: Array, rank: int) -> Array:
    """Returns the state of a rank's own generator, from that of rank 0's.

    Args:
        seed: The state, uint32 [2].
        rank: Index of the rank.
    """
    wide = seed.astype("uint64")
    wide[0] += rank * _SEED_STRIDE
    return (wide % 2**32).astype("uint32")


def _raw(model: Model) -> list[tf.Variable]:
    """Variables of TensorFlow that a layer holds and Keras does not know of."""
    found = []
    for layer in keras_internals.layers_of(model):
        for value in vars(layer).values():
            values = value if isinstance(value, list | tuple) else [value]
            found += [v for v in values if isinstance(v, tf.Variable)]
    return found


def key(variable: Variable) -> int:
    """Returns what tells one variable from others, however it is held."""
    return id(variable.value if isinstance(variable, keras.Variable) else variable)


def dtype_of(variable: Variable) -> str:
    """Returns the name of a variable's type."""
    return getattr(variable.dtype, "name", None) or str(variable.dtype)
