"""A single-machine program, run on several workers, that notes what each one saw.

Run under ``nfdt run`` as ``keras_job.py FOLDER SCENARIO...``; every worker prints what
it found in each.
"""

from __future__ import annotations

import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

SAMPLES, BATCH, EPOCHS = 96, 8, 3


class Seen(keras.layers.Layer):
    """Notes the first feature of every sample it trains on."""

    def __init__(self, **options):
        super().__init__(**options)
        self.values = []

    def call(self, x, training=False):
        if training:
            tf.py_function(self._note, [x], [])
        return x

    def _note(self, x):
        self.values += [int(value) for value in x[:, 0]]


def build(norm=False):
    keras.utils.set_random_seed(3)
    seen = Seen()
    parts = [layers.BatchNormalization(momentum=0.5)] if norm else []
    model = keras.Sequential(
        [keras.Input((4,)), seen, *parts, layers.Rescaling(1 / SAMPLES)]
    )
    model.add(layers.Dense(3))
    return model, seen


def data():
    x = np.random.default_rng(0).normal(size=(SAMPLES, 4)).astype("float32")
    x[:, 0] = np.arange(SAMPLES)
    return x, (np.arange(SAMPLES) % 3)


def fit(model, *given, optimizer=None, **options):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
    return model.fit(
        *given, **{"epochs": EPOCHS, "batch_size": BATCH, "verbose": 0, **options}
    )


def report(model, seen, history, **more):
    return {
        "seen": seen.values,
        "history": history.history,
        "weights": [w.tolist() for w in model.get_weights()],
        "iterations": int(model.optimizer.iterations),
        **more,
    }


def arrays():
    model, seen = build(norm=True)
    x, y = data()
    history = fit(model, x, y, validation_data=(x[:20], y[:20]))
    return report(model, seen, history)


def generator():
    def batches():
        x, y = data()
        while True:
            for i in range(0, SAMPLES, BATCH):
                yield x[i : i + BATCH], y[i : i + BATCH]

    model, seen = build()
    history = fit(model, batches(), batch_size=None, steps_per_epoch=SAMPLES // BATCH)
    return report(model, seen, history)


def stream(batch=BATCH):
    batches = tf.data.Dataset.from_tensor_slices(data()).batch(batch)
    model, seen = build()
    return report(model, seen, fit(model, batches, batch_size=None))


def callbacks():
    """An early stop, a rate that falls, a best model: decided once, by worker 0."""
    model, seen = build()
    x, y = data()
    path = pathlib.Path(sys.argv[1], "best.keras")
    history = fit(
        model,
        x,
        y,
        optimizer=keras.optimizers.SGD(0.05),
        epochs=20,
        validation_data=(x[:20], y[:20]),
        callbacks=[
            keras.callbacks.EarlyStopping(patience=3, min_delta=10.0),
            keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=1, min_delta=10.0),
            keras.callbacks.ModelCheckpoint(path, save_best_only=True),
        ],
    )
    rate = float(model.optimizer.learning_rate)
    again = keras.models.load_model(path, custom_objects={"Seen": Seen})
    saved = int(again.optimizer.iterations)
    return report(model, seen, history, rate=rate, saved=saved)


def rates():
    """A rate that a callback of worker 0 sets to nothing after the first epoch."""
    model, seen = build()
    schedule = keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: 0.0 if epoch else rate
    )
    history = fit(model, *data(), epochs=4, callbacks=[schedule])
    return report(model, seen, history)


def on_batch():
    model, seen = build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss)
    x, y = data()
    logs = [
        float(model.train_on_batch(x[i : i + BATCH], y[i : i + BATCH]))
        for i in range(0, SAMPLES, BATCH)
    ]
    result = float(model.evaluate(x, y, verbose=0))
    return {"seen": seen.values, "logs": logs, "evaluated": result}


def loop():
    model, seen = build()
    optimizer = keras.optimizers.Adam(0.01)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    batches = tf.data.Dataset.from_tensor_slices(data()).batch(BATCH)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(value, weights), weights)

    for x, y in batches:
        step(x, y)
    slots = [np.asarray(v).tolist() for v in optimizer.variables]
    return {
        "seen": seen.values,
        "weights": [w.tolist() for w in model.get_weights()],
        "slots": slots,
    }


def momentum():
    model, seen = build()
    optimizer = keras.optimizers.SGD(0.02, momentum=0.9)
    return report(model, seen, fit(model, *data(), optimizer=optimizer))


def unbuilt():
    keras.utils.set_random_seed(3)
    seen = Seen()
    model = keras.Sequential([seen, layers.Rescaling(1 / SAMPLES), layers.Dense(3)])
    return report(model, seen, fit(model, *data()))


def different():
    """A mistake: each worker makes a model of another size."""
    import nfdt

    model = keras.Sequential([keras.Input((4,)), layers.Dense(3 + nfdt.rank())])
    fit(model, *data())


def own_class():
    """A mistake: no server can import this optimizer."""

    class Mine(keras.optimizers.SGD):
        pass

    model, _ = build()
    fit(model, *data(), optimizer=Mine(0.05))


def main(folder, *names):
    del folder  # of the scenario that saves
    for name in names:
        print("found", name, json.dumps(globals()[name]()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
