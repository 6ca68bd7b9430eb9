"""The variables of a model and its optimizers, as a snapshot keeps them.

Weights and optimizers are the same on all ranks. Seeds, states of metrics, accumulated
gradients and what layers gather differ: of these each rank's is kept. Another number of
ranks goes on from what they are together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from fdtcore.engine import Array, Collectives
from fdtcore.glue import keras_internals, metrics, state, wrappers
from fdtcore.keras_types import Model, Variable
from fdtcore.process import Process

# How a variable's values on some ranks become those on others; beside the rules of
# metrics.
_SEED, _MEAN, _FIRST = "seed", "mean", "first"
_SEED_NAME = "seed_generator_state"  # Keras calls it so
_SCOPES = re.compile(r"^\S*/")
_NUMBERED = re.compile(r"_\d+(?=[_ ])")


def variables(model: Model) -> list[Variable]:
    """Returns what training changes: the variables of a model and its optimizers."""
    held = state.of_model(model)
    for optimizer in wrappers.within(model):
        held += state.of_optimizer(optimizer)
    unique = {state.key(v): v for v in held if state.initialized(v)}
    return list(unique.values())


def described(held: Sequence[Variable]) -> list[str]:
    """Returns one text for each variable: its name, shape and type.

    Without what depends on where it was made, in a step or before: the scopes in front
    of the name. And without the numbers in it, which count what a process has made.
    """
    lines = state.described(held).splitlines()
    return [_NUMBERED.sub("", _SCOPES.sub("", line)) for line in lines]


def built(model: Model, held: Sequence[Variable]) -> list[list[int]]:
    """Returns for each optimizer of a model the places of what it was built with."""
    places = {state.key(v): i for i, v in enumerate(held)}
    return [
        [places[state.key(v)] for v in keras_internals.descended(one)]
        if one.built
        else []
        for one in wrappers.within(model)
    ]


def build_optimizers(model: Model, places: Sequence[Sequence[int]]) -> None:
    """Builds those optimizers of a model that a step of the user's own would build."""
    held = state.of_model(model)
    for optimizer, own in zip(wrappers.within(model), places, strict=False):
        if own and not optimizer.built and max(own) < len(held):
            optimizer.build([held[i] for i in own])


def rules(
    collectives: Collectives, model: Model, held: Sequence[Variable]
) -> list[str | None]:
    """Returns for each variable how its values on several ranks combine.

    None for those that are the same on all. All ranks call it.
    """
    found: dict[int, str] = {}
    for layer in keras_internals.layers_of(model):
        for variable in keras_internals.own_state(layer):
            found[id(variable)] = _FIRST
        for generator in keras_internals.seed_generators(layer):
            found[id(generator.state)] = _SEED
    found |= {id(v): _MEAN for v in metrics.moving_statistics(model)}
    found |= metrics.rules(collectives, model)
    for optimizer in wrappers.within(model):
        # A rank adds up the gradients of its parts, weighted.
        found |= {id(v): "sum" for v in keras_internals.accumulators(optimizer)}
    by_id = [found.get(id(v)) for v in held]
    return [
        _FIRST if rule is None and isinstance(v, tf.Variable) else rule
        for v, rule in zip(held, by_id, strict=True)
    ]


def rule_of(variable: Variable) -> str:
    """Returns how the values of a variable combine, by what it says of itself.

    Of metrics it says that they add up. What layers gather says nothing, and is
    averaged.
    """
    if not isinstance(variable, keras.Variable):
        return _FIRST
    if variable.name == _SEED_NAME:
        return _SEED
    said = {"sum": "sum", "mean": _MEAN, "none": _MEAN}.get(variable.aggregation)
    return said if said and keras.backend.is_float_dtype(variable.dtype) else _FIRST


def values(held: Sequence[Variable]) -> list[Array]:
    """Returns copies of the values of variables."""
    # TensorFlow's own variable copies its value once; Keras's would do so twice.
    raw = [v.value if isinstance(v, keras.Variable) else v for v in held]
    return [np.asarray(v.numpy()) for v in raw]


def of_rank(process: Process, size: int, rule: str, brought: Sequence[Array]) -> Array:
    """Returns what a rank goes on from, of a variable that differed between ranks.

    Args:
        process: This process: its rank, the number of ranks, its host.
        size: Number of ranks that the values are of.
        rule: How they combine.
        brought: The value on each of these ranks.
    """
    if process.size == size:
        return brought[process.rank]
    if rule == _SEED:
        if process.rank < size:
            return brought[process.rank]
        return state.moved_apart(brought[0], process.rank)
    if rule == "sum":
        total = sum(brought[1:], start=brought[0])
        return total if process.rank == 0 else np.zeros_like(total)
    if rule == _MEAN:
        mean: Array = np.stack(brought).mean(axis=0, dtype=np.float64)
        return mean.astype(brought[0].dtype)
    if rule in metrics.EXTREME:
        return np.asarray(metrics.EXTREME[rule](brought), brought[0].dtype)
    return brought[0]
