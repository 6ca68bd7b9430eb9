"""A script that distributes its models itself; each process prints what it ends with.

``python explicit_job.py FRAMEWORK CASE ...``; with ``none`` for the framework it knows
of none, and each case prints its name and a JSON object.
"""

from __future__ import annotations

import importlib
import json
import random
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tests.hfdt.own_optimizers import Lookahead, Parted

SAMPLES, BATCH, EPOCHS = 208, 16, 3
STEPS = SAMPLES // BATCH * EPOCHS
CASES = {}


def case(function):
    """Registers a case under its name."""
    CASES[function.__name__] = function
    return function


def compiled(model, optimizer, **options):
    if framework is None:
        model.compile(optimizer, "mse")
        return model
    return framework.distribute(model, optimizer, "mse", **options)


def small(*more):
    dense = [layers.Dense(8, activation="tanh", name="encoder"), layers.Dense(1)]
    return keras.Sequential([keras.Input((6,)), *more, *dense])


def fitted(model):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, 6)).astype("float32")
    y = (x @ rng.normal(size=(6, 1))).astype("float32")
    history = model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0, shuffle=False)
    return {
        "loss": history.history["loss"] if "loss" in history.history else [],
        "before": float((y**2).mean()),
        "after": float(((model(x) - y) ** 2).numpy().mean()),
        "weights": float(sum(abs(w).sum() for w in model.get_weights())),
    }


def two():
    return keras.optimizers.SGD(0.05), keras.optimizers.Adam(0.01)


@case
def multi():
    default, other = two()
    rest = {".*encoder/.*": other}
    optimizers = keras.optimizers.OptimizerMap(default, rest)
    optimizer = keras.optimizers.MultiOptimizer(optimizers)
    found = fitted(compiled(small(), optimizer))
    inner = [int(one.iterations) for one in (default, other)]
    return {**found, "iterations": [int(optimizer.iterations), *inner]}


@case
def compiled_afterwards():
    """A model that is distributed before it has an optimizer."""
    model = small()
    if framework is not None:
        model = framework.distribute(model)
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return fitted(model)


@case
def multi_in_a_loop():
    """By hand, over batches that two workers cannot share evenly."""
    default, other = two()
    optimizers = keras.optimizers.OptimizerMap(default, {".*encoder/.*": other})
    optimizer = keras.optimizers.MultiOptimizer(optimizers)
    model = small()
    ones = np.ones((BATCH * 5, 6), "float32")
    for x, y in tf.data.Dataset.from_tensor_slices((ones, ones[:, :1])).batch(BATCH):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
    return {"iterations": [int(o.iterations) for o in (optimizer, default, other)]}


@case
def random_numbers():
    """What is drawn after the framework has started, from seeds of before."""
    return {"drawn": DRAWN}


@case
def wrapper():
    """Two optimizers in a dictionary."""
    biases, weights = two()
    optimizer = Parted({"weights": weights, "biases": biases})
    found = fitted(compiled(small(), optimizer))
    return {**found, "iterations": int(optimizer.iterations)}


@case
def held_by_the_model():
    """A model with optimizers that ``compile`` knows nothing of."""

    class Model(keras.Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) - y) ** 2)
            weights = self.trainable_variables
            pairs = list(zip(tape.gradient(loss, weights), weights))
            self.pair[0].apply_gradients(pairs[:2])
            self.pair[1].apply_gradients(pairs[2:])
            return {"error": loss}

    model = Model(small().layers)
    model.build((None, 6))
    model.pair = list(two())
    model.compile()
    return fitted(model if framework is None else framework.distribute(model))


@case
def rates():
    """A scaled rate for each of two optimizers, reached after two epochs."""
    default, other = two()
    optimizer = Parted({"weights": other, "biases": default})
    options = {"lr_scale": "linear", "warmup_epochs": 2}
    fitted(compiled(small(), optimizer, **options))
    return {"rates": [float(one.learning_rate) for one in (default, other)]}


@case
def counts():
    class Counts(layers.Layer):
        def build(self, shape):
            def held(name, **options):
                return self.add_weight(shape=(), trainable=False, name=name, **options)

            self.steps = held("steps", dtype="int32", initializer="zeros")
            self.grows = held("grows", initializer="zeros")
            self.shrinks = held("shrinks", initializer="ones")
            self.derived = held("derived", initializer="zeros")

        def call(self, x, training=False):
            if training:
                self.steps.assign_add(1)
                self.grows.assign_add(0.01)
                self.shrinks.assign(self.shrinks * 0.99)
                self.derived.assign(ops.sin(3 * self.grows))
            return x

    counted = Counts()
    found = fitted(compiled(small(counted), "sgd"))
    names = ("steps", "grows", "shrinks")
    return {**found, **{name: float(getattr(counted, name)) for name in names}}


@case
def float8():
    """The largest inputs are in one batch, which one worker sees."""
    x = np.ones((SAMPLES, 6), "float32")
    x[5] = 7.0
    dense = layers.Dense(1, dtype="float8_from_float32")
    model = compiled(keras.Sequential([keras.Input((6,)), dense]), two()[0])
    model.fit(x, x[:, :1], batch_size=BATCH, epochs=1, verbose=0, shuffle=False)
    history = dense.inputs_amax_history.numpy()
    return {"largest": float(history.max()), "least": float(history.min())}


@case
def stateful():
    recurrent = layers.LSTM(2, stateful=True, name="recurrent")
    model = keras.Sequential([keras.Input(batch_shape=(4, 3, 1)), recurrent])
    x, y = np.ones((8, 3, 1), "float32"), np.ones((8, 2), "float32")
    try:
        compiled(model, "sgd").fit(x, y, batch_size=4, verbose=0)
    except ValueError as error:
        return {"refused": str(error)}
    return {}


@case
def lookahead():
    """A wrapper that writes the variables itself, now and then."""
    return fitted(compiled(small(), Lookahead(two()[0])))


@case
def forgotten():
    model = small()
    model.compile("sgd", "mse")
    return fitted(model)


@case
def forgotten_by_hand():
    """Without an optimizer."""

    class Model(keras.Sequential):
        def train_step(self, data):
            for variable in self.trainable_variables:
                variable.assign(0.9 * variable)
            return {"loss": tf.reduce_mean(self(data[0]))}

    model = Model(small().layers)
    model.build((None, 6))
    model.compile()
    return fitted(model)


@case
def nothing_trained():
    model = small()
    model.compile("sgd", "mse")
    x = np.ones((SAMPLES, 6), "float32")
    model.evaluate(x, x[:, :1], verbose=0)
    model.predict(x, verbose=0)
    model.trainable = False
    model.compile("sgd", "mse")
    return fitted(model)


if __name__ == "__main__":
    name, *cases = sys.argv[1:]
    framework = None if name == "none" else importlib.import_module(name)
    random.seed(1)
    np.random.seed(1)
    if framework is not None:
        framework.init()
    DRAWN = [random.random(), np.random.random()]
    for chosen in cases:
        keras.utils.set_random_seed(1)
        # One write: lines of two processes must not mix.
        print(f"found {chosen} {json.dumps(CASES[chosen]())}\n", end="", flush=True)
