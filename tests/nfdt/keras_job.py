"""A single-machine program, run on several workers, that notes what each one saw.

Run under ``nfdt run`` as ``keras_job.py FOLDER SCENARIO...``; every worker prints what
it found in each.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.nfdt.own_optimizers import Registered, Scaled

SAMPLES, BATCH, EPOCHS = 96, 8, 3
WORKER = int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))


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


class Watch(keras.callbacks.Callback):
    """Reads validation values, adds one of its own, and ends the fit by them."""

    def __init__(self, stops):
        super().__init__()
        self.stops, self.epochs, self.tested, self.values = stops, [], [], []

    def on_test_end(self, logs=None):
        self.tested.append(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)
        self.values.append(logs["val_loss"])
        logs["score"] = logs["val_loss"] - logs["loss"]
        if self.stops and epoch == 1:
            self.model.stop_training = True


def watching():
    """A callback of the user's, on all workers, that one of them ends the fit by."""
    model, seen = build()
    x, y = data()
    own = Watch(stops=WORKER == 1)
    best = keras.callbacks.EarlyStopping("score", mode="min", patience=9)
    options = {"validation_data": (x[:20], y[:20]), "epochs": 5}
    history = fit(model, x, y, callbacks=[own, best], **options)
    found = {"epochs": own.epochs, "tested": own.tested, "values": own.values}
    return report(model, seen, history, **found)


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
    weights = [w.tolist() for w in model.get_weights()]
    return {
        "seen": seen.values,
        "logs": logs,
        "evaluated": result,
        "weights": weights,
        "iterations": int(model.optimizer.iterations),
    }


def two_models():
    """Two models that are trained in turn, each against what the other makes."""
    keras.utils.set_random_seed(3)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    maker = keras.Sequential([keras.Input((2,)), layers.Dense(4)])
    judge = keras.Sequential([keras.Input((4,)), layers.Dense(8, "tanh")])
    judge.add(layers.Dropout(0.2))
    judge.add(layers.Dense(1))
    judge.compile(keras.optimizers.Adam(0.01), loss)
    judge.trainable = False
    both = keras.Sequential([keras.Input((2,)), maker, judge])
    both.compile(keras.optimizers.Adam(0.01), loss)
    judge.trainable = True
    x, _ = data()
    logs = []
    for i in range(0, SAMPLES, BATCH):
        noise = np.random.normal(size=(BATCH, 2)).astype("float32")
        real, made = x[i : i + BATCH] / SAMPLES, maker(noise)
        logs.append(float(judge.train_on_batch(real, np.ones((BATCH, 1)))))
        logs.append(float(judge.train_on_batch(made, np.zeros((BATCH, 1)))))
        logs.append(float(both.train_on_batch(noise, np.ones((BATCH, 1)))))
    return {"logs": logs, "weights": [w.tolist() for w in both.get_weights()]}


def slices(graph=True):
    """A loop over slices of arrays, with one optimizer for each half of the model."""
    model, _ = build()
    optimizers = [keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.05)]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    x, y = data()

    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        weights = model.trainable_variables
        found = zip(optimizers, tape.gradient(value, weights), weights, strict=True)
        for optimizer, gradient, variable in found:
            optimizer.apply([gradient], [variable])
        return value

    run = tf.function(step) if graph else step
    batches = [slice(i, i + BATCH) for i in range(0, SAMPLES, BATCH)]
    logs = [float(run(tf.constant(x[b]), tf.constant(y[b]))) for b in batches]
    return {"logs": logs, "weights": [w.tolist() for w in model.get_weights()]}


def slices_eagerly():
    return slices(graph=False)


class Counting(keras.Sequential):
    """Counts its steps without a look at the batch."""

    def __init__(self, *args):
        super().__init__(*args)
        self.steps = tf.Variable(0, trainable=False)

    def train_step(self, data):
        self.steps.assign_add(1)
        return super().train_step(data)


class Calls(keras.callbacks.Callback):
    """Notes the numbers of the batches that it is called for."""

    def __init__(self):
        super().__init__()
        self.begun, self.ended = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.begun.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.ended.append(batch)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return SAMPLES // BATCH

    def __getitem__(self, i):
        x, y = data()
        return x[i * BATCH : (i + 1) * BATCH], y[i * BATCH : (i + 1) * BATCH]


def steps():
    """Every kind of data and of step; each must be as many as there are batches."""
    stream = tf.data.Dataset.from_tensor_slices(data()).batch(BATCH)
    unknown = stream.filter(lambda x, y: True)
    by_size = {"batch_size": BATCH}
    found = {}
    for name, given, compiled in (
        ("arrays", data(), {}),
        ("eager", data(), {"run_eagerly": True}),
        ("xla", data(), {"jit_compile": True}),
        ("unbuilt", data(), {}),
        ("five at a time", data(), {"steps_per_execution": 5}),
        ("with an index", (Batches(),), {}),
        ("stream", (stream,), {}),
        ("unknown", (unknown,), {}),
        ("unknown, five at a time", (unknown,), {"steps_per_execution": 5}),
    ):
        keras.utils.set_random_seed(3)
        begin = [] if name == "unbuilt" else [keras.Input((4,))]
        model, calls = Counting([*begin, layers.Dense(3)]), Calls()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(1e-3), loss, **compiled)
        options = by_size if len(given) == 2 else {}
        model.fit(
            *given, **options, shuffle=False, epochs=2, callbacks=[calls], verbose=0
        )
        found[name] = {
            "steps": int(model.steps),
            "iterations": int(model.optimizer.iterations),
            "begun": calls.begun,
            "ended": calls.ended,
        }
    return found


class Inverse(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that only the script knows."""

    def __call__(self, step):
        return 0.05 / (1.0 + tf.cast(step, tf.float32))


def scheduled():
    """A schedule of Keras's, and an optimizer that is known by another name."""
    rate = keras.optimizers.schedules.CosineDecay(0.01, EPOCHS * SAMPLES // BATCH)
    model, seen = build()
    found = report(
        model, seen, fit(model, *data(), optimizer=keras.optimizers.Adam(rate))
    )
    other, _ = build()
    fit(other, *data(), optimizer=Registered(rate))
    return {**found, "other": [w.tolist() for w in other.get_weights()]}


def undecayed(batch=BATCH):
    """A schedule of the script's, and weight decay that is not of all variables."""
    optimizer = keras.optimizers.AdamW(Inverse(), weight_decay=2.0)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    batches = tf.data.Dataset.from_tensor_slices(data()).batch(batch)
    model, seen = build()
    model.layers[-1].bias.assign(np.ones(3))
    history = fit(model, batches, batch_size=None, optimizer=optimizer)
    return report(model, seen, history)


def loop(built=True):
    model, seen = build()
    if not built:
        model = keras.Sequential([seen, layers.Dense(3)])
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


def loop_unbuilt():
    """A mistake where workers make steps of their own: the first one builds it."""
    return loop(built=False)


def momentum():
    model, seen = build()
    optimizer = keras.optimizers.SGD(0.02, momentum=0.9)
    return report(model, seen, fit(model, *data(), optimizer=optimizer))


class Rounded(keras.callbacks.Callback):
    """Notes after each step, each epoch and the fit whether bfloat16 has all values."""

    def __init__(self):
        super().__init__()
        self.after = {"batch": [], "epoch": [], "fit": []}

    def _note(self, name):
        values = [np.asarray(v) for v in self.model.trainable_variables]
        narrow = [v.astype(tf.bfloat16.as_numpy_dtype) for v in values]
        self.after[name].append(all(map(np.array_equal, values, narrow)))

    def on_train_batch_end(self, batch, logs=None):
        self._note("batch")

    def on_epoch_end(self, epoch, logs=None):
        self._note("epoch")

    def on_train_end(self, logs=None):
        self._note("fit")


def rounded():
    model, seen = build()
    notes = Rounded()
    history = fit(model, *data(), callbacks=[notes])
    after = {name: sorted(set(found)) for name, found in notes.after.items()}
    return report(model, seen, history, rounded=after)


def unbuilt():
    keras.utils.set_random_seed(3)
    seen = Seen()
    model = keras.Sequential([seen, layers.Rescaling(1 / SAMPLES), layers.Dense(3)])
    return report(model, seen, fit(model, *data()))


def few():
    """Two batches an epoch, so that a third worker gets none."""
    model, seen = build()
    x, y = data()
    return report(model, seen, fit(model, x[: 2 * BATCH], y[: 2 * BATCH]))


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


def forgetful():
    """A mistake: the server would make this optimizer with another factor."""
    model, _ = build()
    fit(model, *data(), optimizer=Scaled(0.05, factor=3.0))


def changed():
    """A mistake: the servers have the optimizer as it was."""
    model, _ = build()
    fit(model, *data(), optimizer=(optimizer := keras.optimizers.Adam(0.05)))
    optimizer.beta_1 = 0.5
    fit(model, *data(), optimizer=optimizer)


def main(folder, *names):
    del folder  # of the scenario that saves
    for name in names:
        print("found", name, json.dumps(globals()[name]()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
