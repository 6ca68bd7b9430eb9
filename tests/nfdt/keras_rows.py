"""Single-machine programs that NFDT must not change: those of HFDT, and more.

As a script it writes what all rows return::

    python keras_rows.py OUT.npz [NAME ...]
"""

from __future__ import annotations

import functools
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.hfdt import equality_rows
from tests.hfdt.equality_rows import (
    cross_entropy,
    data,
    fitted,
    outcome,
    small,
    validated,
)
from tests.nfdt.own_optimizers import Halved

ROWS = dict(equality_rows.ROWS)
# Those whose step does not look at whole variables.
ELEMENTWISE = {
    "rmsprop": keras.optimizers.RMSprop,
    "adadelta": keras.optimizers.Adadelta,
    "adagrad": keras.optimizers.Adagrad,
    "adamax": keras.optimizers.Adamax,
    "nadam": keras.optimizers.Nadam,
    "ftrl": keras.optimizers.Ftrl,
    "lion": keras.optimizers.Lion,
}
WHOLE = {
    "adafactor": keras.optimizers.Adafactor,
    "lamb": keras.optimizers.Lamb,
    "muon": keras.optimizers.Muon,
    "own_optimizer": Halved,
}


ROWS |= {
    name: functools.partial(lambda kind: fitted(kind(0.01)), kind)
    for name, kind in {**ELEMENTWISE, **WHOLE}.items()
}


def row(function):
    """Registers a program under its name."""
    ROWS[function.__name__] = function
    return function


@row
def gradient_missing():
    """A weight that the loss does not reach: weight decay leaves it, EMA does not."""

    class Spare(layers.Layer):
        def build(self, shape):
            self.spare = self.add_weight(shape=(3,), initializer="ones")

        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((8,)), Spare(), layers.Dense(4)])
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1, use_ema=True)
    return fitted(optimizer, model=model)


@row
def constraint():
    model = small(kernel_constraint=keras.constraints.MaxNorm(0.5))
    return fitted(keras.optimizers.SGD(0.1, momentum=0.5), model=model)


@row
def batch_normalization_and_dropout():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(16)])
    model.add(layers.BatchNormalization(momentum=0.9))
    model.add(layers.Dropout(0.3, seed=3))
    model.add(layers.Dense(4))
    return validated("adam", model=model)


@row
def frozen_for_a_while():
    x, y = data()
    model = small()
    model.compile(keras.optimizers.Adam(0.01), cross_entropy())
    model.fit(x, y, batch_size=16, verbose=0)
    model.layers[0].trainable = False
    model.compile(model.optimizer, cross_entropy())
    model.fit(x, y, batch_size=16, verbose=0)
    model.layers[0].trainable = True
    model.compile(model.optimizer, cross_entropy())
    return outcome(model, model.fit(x, y, batch_size=16, verbose=0))


@row
def weights_set_by_a_callback():
    class Shrink(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.set_weights([0.5 * w for w in self.model.get_weights()])

    return validated("adam", callbacks=[Shrink()], epochs=3)


@row
def weights_set_between_fits():
    x, y = data()
    model = small()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), cross_entropy())
    model.fit(x, y, batch_size=16, verbose=0)
    model.set_weights([0.5 * w for w in model.get_weights()])
    loss = model.evaluate(x, y, verbose=0)
    result = outcome(model, model.fit(x, y, batch_size=16, verbose=0))
    return {**result, "evaluated": np.asarray(loss)}


@row
def rate_scheduled():
    def half(epoch, rate):
        return rate / 2

    schedule = keras.callbacks.LearningRateScheduler(half)
    optimizer = keras.optimizers.Adam(0.1)
    result = fitted(optimizer, callbacks=[schedule], epochs=3)
    return {**result, "rate": np.asarray(float(optimizer.learning_rate))}


@row
def momentum_is_saved():
    x, y = data()
    model = small()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), cross_entropy())
    model.fit(x, y, batch_size=16, verbose=0)
    slots = [np.asarray(m) for m in model.optimizer.momentums]
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/m.keras")
        again = keras.models.load_model(f"{folder}/m.keras")
    history = again.fit(x, y, batch_size=16, verbose=0)
    return {**outcome(again, history), **{f"m{i}": s for i, s in enumerate(slots)}}


@row
def backup_and_restore():
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyError("stop")

    x, y = data()
    with tempfile.TemporaryDirectory() as folder:
        for last in ([Interrupt()], []):
            model = small()
            model.compile(keras.optimizers.Adam(0.01), cross_entropy())
            backup = keras.callbacks.BackupAndRestore(folder)
            try:
                history = model.fit(
                    x, y, batch_size=16, epochs=4, verbose=0, callbacks=[backup, *last]
                )
            except KeyError:
                keras.utils.set_random_seed(7)
    return outcome(model, history)


@row
def float64():
    keras.config.set_dtype_policy("float64")
    try:
        model = small()
    finally:
        keras.config.set_dtype_policy("float32")
    return fitted("adam", model=model)


@row
def one_optimizer_of_two_parts():
    """Two calls of ``apply`` a step, each for its own variables."""
    model, optimizer = small(), keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    x, y = data()

    @tf.function
    def step(x, y):
        for layer in model.layers:
            with tf.GradientTape() as tape:
                loss = cross_entropy()(y, model(x))
            weights = layer.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))

    for _ in range(6):
        step(x, y)
    return outcome(model)


if __name__ == "__main__":
    equality_rows.main(ROWS, sys.argv[1], sys.argv[2:])
