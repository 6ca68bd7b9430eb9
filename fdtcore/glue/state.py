"""What all ranks must hold alike: the values that training begins from."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

import numpy as np
import tensorflow as tf
from keras import KerasTensor, Variable, tree

from fdtcore.engine import Engine

# Odd, so that seeds of different ranks stay different modulo 2**32.
_SEED_STRIDE = 0x9E3779B1


def agree(engine: Engine, model: Any) -> None:
    """Gives every rank rank 0's state of ``model``, each its own dropout draws.

    Args:
        engine: The engine.
        model: A model that is built.

    Raises:
        ValueError: Ranks have built different models.
    """
    if engine.process.size == 1:
        return
    variables = of_model(model)
    engine.agree(described(variables), f"model {model.name!r}")
    engine.broadcast(variables)
    part_seeds(engine, model)
    engine.agreed(model)
    engine.agreed(model.optimizer)


def build(model: Any, data: Any) -> bool:
    """Builds a model, its metrics, loss and optimizer from a batch, as Keras would.

    Args:
        model: The model.
        data: A batch, or its symbolic form.

    Returns:
        Whether it could be done without running the model.
    """
    with tf.init_scope(), contextlib.suppress(Exception):
        # Whatever is wrong with the model, Keras says it better when it runs it.
        model._symbolic_build(data_batch=tree.map_structure(_symbolic, data))
    return model.built


def check(engine: Engine, model: Any) -> None:
    """Refuses weights that differ between ranks though all made the same steps.

    Raises:
        ValueError: They differ.
    """
    digest = hashlib.sha256()
    for variable in model.trainable_variables:
        digest.update(np.asarray(variable.numpy()).tobytes())
    if len(set(engine.allgather_text(digest.hexdigest()))) > 1:
        raise ValueError(
            "ranks must begin with the same weights. Received: a model that is built "
            f"while it trains ({model.name!r}), so each rank drew its own. Build it, "
            "or call it on a batch, before fit."
        )


def _symbolic(leaf: Any) -> Any:
    if getattr(leaf, "shape", None) is None:
        return leaf
    shape = [None, *leaf.shape[1:]] if leaf.shape.rank else leaf.shape
    return KerasTensor(shape, leaf.dtype.name, sparse=isinstance(leaf, tf.SparseTensor))


def initialized(variable: Any) -> bool:
    """Whether a variable has its first value."""
    raw = variable.value if isinstance(variable, Variable) else variable
    with tf.init_scope():
        return bool(tf.compat.v1.is_variable_initialized(raw))


def of_model(model: Any) -> list[Any]:
    """Returns every variable that training reads or writes, each once."""
    held = [*model.variables, *model.metrics_variables, *_raw(model)]
    if model.optimizer is not None:
        held += model.optimizer.variables
    return list({_key(v): v for v in held if initialized(v)}.values())


def described(variables: Any) -> str:
    """Returns one line a variable: its path, shape and dtype."""
    return "\n".join(
        f"{getattr(v, 'path', v.name)} {tuple(v.shape)} {dtype_of(v)}"
        for v in variables
    )


def part_seeds(engine: Engine, model: Any) -> None:
    """Moves the seeds of layers apart, so that dropout differs between ranks."""
    rank = engine.process.rank
    for layer in model._flatten_layers() if rank else ():
        for generator in layer._seed_generators:
            seed = generator.state.numpy().astype("uint64")
            seed[0] += rank * _SEED_STRIDE
            generator.state.assign((seed % 2**32).astype("uint32"))


def _raw(model: Any) -> list[tf.Variable]:
    """Variables of TensorFlow that a layer holds and Keras does not know of."""
    found = []
    for layer in model._flatten_layers():
        for value in vars(layer).values():
            values = value if isinstance(value, list | tuple) else [value]
            found += [v for v in values if isinstance(v, tf.Variable)]
    return found


def _key(variable: Any) -> int:
    return id(variable.value if isinstance(variable, Variable) else variable)


def dtype_of(variable: Any) -> str:
    """Returns the name of a variable's type."""
    return getattr(variable.dtype, "name", None) or str(variable.dtype)
