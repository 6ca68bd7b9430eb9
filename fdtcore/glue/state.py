"""What all ranks must hold alike: the values that training begins from."""

from __future__ import annotations

import contextlib
import hashlib
from contextlib import nullcontext
from typing import Any

import numpy as np
import tensorflow as tf
from keras import KerasTensor, Variable, tree
from keras.src.backend.tensorflow import trainer as tf_trainer

from fdtcore.engine import Engine
from fdtcore.glue import binding, wrappers

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
        data: A batch, its symbolic form, or its specification.

    Returns:
        Whether it could be done without running the model.
    """
    trainer = tf_trainer.TensorFlowTrainer
    is_own = type(model).train_step is not trainer.train_step
    # A step of the user's own may train a part of the variables with it.
    kept = binding.replaced(model, "optimizer", None) if is_own else nullcontext()
    with tf.init_scope(), contextlib.suppress(Exception), kept:
        # Whatever is wrong with the model, Keras says it better when it runs it.
        model._symbolic_build(data_batch=tree.map_structure(_symbolic, data))
    return model.built


def check(engine: Engine, model: Any) -> None:
    """Refuses weights that differ between ranks though all made the same steps.

    Raises:
        ValueError: They differ.
    """
    if len(set(engine.allgather_text(digest(model.trainable_variables)))) > 1:
        raise ValueError(
            "ranks must begin with the same weights. Received: a model that is built "
            f"while it trains ({model.name!r}), so each rank drew its own. Build it, "
            "or call it on a batch, before fit."
        )


def digest(variables: Any) -> str:
    """Returns a text that changes when a value of the variables does."""
    found = hashlib.sha256()
    for variable in variables:
        found.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return found.hexdigest()


def _symbolic(leaf: Any) -> Any:
    if getattr(leaf, "shape", None) is None:
        return leaf
    shape = [None, *leaf.shape[1:]] if leaf.shape.rank else leaf.shape
    is_sparse = isinstance(leaf, tf.SparseTensor | tf.SparseTensorSpec)
    return KerasTensor(shape, leaf.dtype.name, sparse=is_sparse)


def is_overwritten(variable: Any) -> bool:
    """Whether what stands in place of a variable's gradient is its new value.

    So the layers of float8 keep the largest values that they have seen. Optimizers
    of Keras assign it, and take the maximum where there are several.
    """
    return bool(getattr(variable, "overwrite_with_gradient", False))


def overwritten(model: Any) -> list[Any]:
    """Returns the trainable variables of a model that are not descended."""
    return [v for v in model.trainable_variables if is_overwritten(v)]


def initialized(variable: Any) -> bool:
    """Whether a variable has its first value."""
    raw = variable.value if isinstance(variable, Variable) else variable
    with tf.init_scope():
        return bool(tf.compat.v1.is_variable_initialized(raw))


def of_model(model: Any) -> list[Any]:
    """Returns every variable that training reads or writes, each once."""
    held = [*model.variables, *model.metrics_variables, *_raw(model)]
    held += of_optimizer(model.optimizer)
    return list({_key(v): v for v in held if initialized(v)}.values())


def of_optimizer(optimizer: Any) -> list[Any]:
    """Returns the variables of an optimizer and of those that it holds, each once."""
    held = [] if optimizer is None else [optimizer, *wrappers.within(optimizer)]
    return list({_key(v): v for one in held for v in one.variables}.values())


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
