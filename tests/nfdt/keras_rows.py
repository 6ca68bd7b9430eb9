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
from tests.nfdt.own_optimizers import Halved, Registered

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
    "registered_optimizer": Registered,
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


class Inverse(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of the script, without a configuration."""

    def __call__(self, step):
        return 0.05 / (1.0 + tf.cast(step, tf.float32))


ROWS |= {
    f"own_schedule_{kind.__name__.lower()}": functools.partial(
        lambda kind: fitted(kind(Inverse()), epochs=2), kind
    )
    # Of the three, Adafactor takes a number for another rate than a schedule's.
    for kind in (
        keras.optimizers.SGD,
        keras.optimizers.Adam,
        keras.optimizers.Adafactor,
    )
}


@row
def rate_of_a_function():
    """Keras calls it when the step is traced; what it reads is read each time."""
    rate = tf.Variable(0.05, trainable=False)

    class Halving(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rate.assign(rate / 2)

    optimizer = keras.optimizers.Adam(rate.read_value)
    return fitted(optimizer, callbacks=[Halving()], epochs=2)


@row
def schedule_after_a_number():
    x, y = data()
    model, optimizer = small(), keras.optimizers.Adam(0.05)
    for rate in (None, keras.optimizers.schedules.ExponentialDecay(0.05, 5, 0.5)):
        if rate is not None:
            optimizer.learning_rate = rate
        model.compile(optimizer, cross_entropy())
        history = model.fit(x, y, batch_size=16, verbose=0)
    return outcome(model, history)


@row
def decay_not_of_all():
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return fitted(optimizer, model=small(bias_initializer="ones"), epochs=2)


@row
def nadam_goes_on():
    """A product that has no name among its variables."""
    keras.Variable(0.0)  # takes the first of the names that Keras gives
    x, y = data()
    model = small()
    for _ in range(2):
        optimizer = model.optimizer if model.compiled else keras.optimizers.Nadam(0.01)
        model.compile(optimizer, cross_entropy())
        history = model.fit(x, y, batch_size=16, verbose=0)
        values = [np.asarray(v) for v in model.optimizer.variables]
    return {**outcome(model, history), **{f"v{i}": v for i, v in enumerate(values)}}


@row
def weights_clipped_by_hand():
    """What a loop sets between two steps is what the next one goes on from."""
    model = small()
    model.compile(keras.optimizers.RMSprop(0.05), cross_entropy())
    x, y = data()
    logs = []
    for start in range(0, 96, 16):
        rows = slice(start, start + 16)
        logs.append(model.train_on_batch(x[rows], y[rows]))
        model.set_weights([np.clip(w, -0.1, 0.1) for w in model.get_weights()])
    return {**outcome(model), "logs": np.asarray(logs, "float64")}


@row
def variables_of_tensorflow():
    slope, offset = tf.Variable([1.0, 2.0]), tf.Variable(0.0)
    optimizer = keras.optimizers.Adam(0.1)
    for _ in range(5):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((3 * slope - offset) ** 2)
        trained = [slope, offset]
        optimizer.apply(tape.gradient(loss, trained), trained)
    return {"slope": slope.numpy(), "offset": offset.numpy()}


if __name__ == "__main__":
    equality_rows.main(ROWS, sys.argv[1], sys.argv[2:])
