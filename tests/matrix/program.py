"""The program of a cell: trains, and writes what each process ended with.

Nothing in it knows of ranks, unless its form is explicit::

    python program.py CELLS.json FOLDER [plain]

``plain`` trains on one process, whatever the cells say of frameworks.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import posix
import sys
import traceback

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tests.matrix import axes, own

SAMPLES, FEATURES, CLASSES, BATCH, EPOCHS = 70, 6, 3, 16, 2
STEPS = -(-SAMPLES // BATCH)
RATES = {"sgd": 0.1, "sgd_momentum": 0.05, "own_subclass": 0.05, "own_wrapper": 0.1}
CLASSES_OF = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "adadelta": keras.optimizers.Adadelta,
    "adagrad": keras.optimizers.Adagrad,
    "adamax": keras.optimizers.Adamax,
    "adafactor": keras.optimizers.Adafactor,
    "nadam": keras.optimizers.Nadam,
    "ftrl": keras.optimizers.Ftrl,
    "lion": keras.optimizers.Lion,
    "lamb": keras.optimizers.Lamb,
    "muon": keras.optimizers.Muon,
    "schedule_free": keras.optimizers.ScheduleFreeAdamW,
    "own_subclass": own.Signed,
}
OPTIONS = {
    "none": {},
    "clipnorm": {"clipnorm": 0.05},
    "clipvalue": {"clipvalue": 0.02},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "decay_exclusions": {"weight_decay": 0.5},
    "ema": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 3},
    "accumulation": {"gradient_accumulation_steps": 2},
    "loss_scale_factor": {"loss_scale_factor": 8.0},
}


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of the script's own: falls from update to update."""

    def __init__(self, first):
        self.first = first

    def __call__(self, step):
        return self.first / (1.0 + 0.3 * ops.cast(step, "float32"))


class Share(keras.metrics.Metric):
    """Of the samples that a condition holds for; sums are its state."""

    def __init__(self, name="share", **options):
        super().__init__(name=name, **options)
        self.hits = self.add_weight(name="hits", initializer="zeros")
        self.seen = self.add_weight(name="seen", initializer="zeros", dtype="int32")

    def update_state(self, y_true, y_pred, sample_weight=None):
        right = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        hits = ops.cast(right == ops.cast(ops.argmax(y_pred, -1), "int32"), "float32")
        self.hits.assign_add(ops.sum(hits))
        self.seen.assign_add(ops.cast(ops.shape(hits)[0], "int32"))

    def result(self):
        return self.hits


class Shares(Share):
    """Its result is several numbers."""

    def result(self):
        seen = ops.cast(self.seen, "float32")
        return {"right": self.hits / seen, "wrong": 1.0 - self.hits / seen}


class Confidence(keras.metrics.Mean):
    """Mean of the largest chance of each sample."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(ops.max(ops.softmax(y_pred), -1))


class Largest(keras.metrics.Metric):
    """The largest output so far."""

    def __init__(self, name="largest"):
        super().__init__(name=name)
        self.largest = self.add_weight(name="largest", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.largest.assign(ops.maximum(self.largest, ops.max(ops.abs(y_pred))))

    def result(self):
        return self.largest


def label(y_true, y_pred):
    """The labels: their mean is right where each sample is counted once."""
    del y_pred
    return ops.cast(ops.reshape(y_true, (-1,)), "float32")


def metrics_of(cell):
    made = {
        "keras": lambda: keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        "own_sum": Share,
        "own_mean": lambda: Confidence(name="confidence"),
        "own_max": Largest,
        "dict_result": Shares,
        "named_loss": lambda: Confidence(name="loss"),
    }
    found = [keras.metrics.MeanMetricWrapper(label, name="label")]
    return [*found, made[cell["metric"]]()] if cell["metric"] in made else found


def rate_of(cell):
    first = RATES.get(cell["optimizer"], 0.01)
    if cell["rate"] == "schedule":
        return keras.optimizers.schedules.ExponentialDecay(first, 3, 0.7)
    return Halving(first) if cell["rate"] == "own_schedule" else first


def plain_optimizer(cell, **more):
    kind, options = cell["optimizer"], {**OPTIONS[cell["option"]], **more}
    rate = rate_of(cell)
    if kind in ("sgd", "own_wrapper"):
        made = keras.optimizers.SGD(rate, **options)
    elif kind == "sgd_momentum":
        made = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **options)
    else:
        known = kind if kind in CLASSES_OF else "adam"
        made = CLASSES_OF[known](rate, **options)
    if cell["option"] == "decay_exclusions":
        made.exclude_from_weight_decay(var_names=["bias"])
    return made


def optimizer_of(cell):
    kind = cell["optimizer"]
    if kind == "own_wrapper":
        return own.Normed(plain_optimizer(cell))
    if kind == "loss_scale":
        return keras.optimizers.LossScaleOptimizer(
            plain_optimizer(cell), initial_scale=64.0, dynamic_growth_steps=3
        )
    if kind == "multi":
        scaled = OPTIONS[cell["option"]].get("loss_scale_factor")
        more = {"loss_scale_factor": None} if scaled else {}
        known = keras.optimizers.OptimizerMap(
            plain_optimizer({**cell, "optimizer": "sgd"}, **more),
            {"head/.*": plain_optimizer({**cell, "optimizer": "adam"}, **more)},
        )
        return keras.optimizers.MultiOptimizer(known, loss_scale_factor=scaled)
    return plain_optimizer(cell)


class SumOfRows(layers.Layer):
    """Adds up the rows of each sample, however many it has."""

    def call(self, x):
        return tf.reduce_sum(x, 1)


def net_of(cell):
    if cell["data"] == "dict":
        inputs = {name: keras.Input((FEATURES // 2,), name=name) for name in "ab"}
        x = layers.Concatenate()([inputs["a"], inputs["b"]])
    elif cell["data"] == "ragged":
        inputs = keras.Input((None, FEATURES), ragged=True)
        x = SumOfRows()(inputs)
    else:
        inputs = keras.Input((FEATURES,), sparse=cell["data"] == "sparse")
        x = inputs
    x = layers.Dense(8, activation="tanh", name="hidden", bias_initializer="ones")(x)
    y = layers.Dense(CLASSES, name="head", bias_initializer="ones")(x)
    return keras.Model(inputs, y)


def samples_of(cell):
    rng = np.random.default_rng(3)
    y = rng.integers(0, CLASSES, SAMPLES)
    x = rng.normal(size=(SAMPLES, FEATURES)).astype("float32")
    x[:, :CLASSES] += 2 * np.eye(CLASSES, dtype="float32")[y]
    if cell["data"] == "dict":
        return {"a": x[:, : FEATURES // 2], "b": x[:, FEATURES // 2 :]}, y
    if cell["data"] == "sparse":
        return tf.sparse.from_dense(np.where(np.abs(x) > 0.5, x, 0)), y
    if cell["data"] == "ragged":
        lengths = rng.integers(1, 4, SAMPLES)
        rows = np.repeat(x, lengths, 0)
        return tf.RaggedTensor.from_row_lengths(rows, lengths), y
    return x, y


class Sequence(keras.utils.PyDataset):
    """The samples in batches."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        place = slice(index * BATCH, (index + 1) * BATCH)
        return self.x[place], self.y[place]


def given(cell):
    """Returns the data as the program hands them over, and arguments of ``fit``."""
    x, y = samples_of(cell)
    kind = cell["data"]
    if kind == "py_dataset":
        return (Sequence(x, y),), {}
    if kind == "generator":
        return (endless(Sequence(x, y)),), {"steps_per_epoch": STEPS}
    if kind in ("dataset", "unknown_length", "ragged"):
        batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
        if kind == "unknown_length":
            batches = batches.filter(lambda x, y: True)
        return (batches,), {}
    return (x, y), {"batch_size": BATCH}


def endless(sequence):
    while True:
        for index in range(len(sequence)):
            yield sequence[index]


def batches_of(cell):
    """Returns what a loop by hand iterates: a data set where there is one."""
    (x, *y), _ = given(cell)
    if isinstance(x, tf.data.Dataset):
        return x
    if isinstance(x, Sequence):
        return [x[index] for index in range(len(x))]
    if cell["data"] == "generator":
        return [next(x) for _ in range(STEPS)]
    if cell["data"] == "arrays":
        places = [slice(i, i + BATCH) for i in range(0, SAMPLES, BATCH)]
        return [(x[place], y[0][place]) for place in places]
    return tf.data.Dataset.from_tensor_slices((x, y[0])).batch(BATCH)


def loss_of(y, outputs):
    found = keras.losses.sparse_categorical_crossentropy(y, outputs, from_logits=True)
    return tf.reduce_mean(found)


class Own(keras.Model):
    """Has a local step, with one optimizer or one for each layer."""

    def __init__(self, net, second=None, tracks=False):
        super().__init__()
        self.net, self.second = net, second
        self.tracker = keras.metrics.Mean(name="tracked") if tracks else None

    def call(self, x):
        return self.net(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            outputs = self(x, training=True)
            loss = loss_of(y, outputs)
            scaled = self.optimizer.scale_loss(loss)
            again = loss if self.second is None else self.second.scale_loss(loss)
        parts = [(self.optimizer, scaled, self.trainable_variables)]
        if self.second is not None:
            hidden, head = (self.net.get_layer(name) for name in ("hidden", "head"))
            parts = [
                (self.optimizer, scaled, hidden.trainable_variables),
                (self.second, again, head.trainable_variables),
            ]
        for optimizer, value, weights in parts:
            optimizer.apply_gradients(zip(tape.gradient(value, weights), weights))
        if self.tracker is not None:
            self.tracker.update_state(loss)
        for metric in self.metrics:
            if metric is self.tracker:
                continue
            if metric.name == "loss" and type(metric) is keras.metrics.Mean:
                metric.update_state(loss)
            else:
                metric.update_state(y, outputs)
        return self.get_metrics_result()


class Rates(keras.callbacks.Callback):
    """Notes the rate at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(first_rate(self.model.optimizer))


def first_rate(optimizer):
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    optimizer = getattr(optimizer, "optimizers", [optimizer])[0]
    return float(ops.convert_to_numpy(optimizer.learning_rate))


def beside_keras(cell):
    """Returns a cell whose numbers are right where plain Keras has a fault of its own.

    It counts an iteration too many where data of unknown length end.
    """
    return {**cell, "data": "dataset"} if cell["data"] == "unknown_length" else cell


def build(cell, net, optimizer, second):
    """Builds the optimizers whose first values ``fit`` of plain Keras throws away."""
    if cell["optimizer"] == "schedule_free" and second is None:
        optimizer.build(net.trainable_variables)
    elif cell["optimizer"] == "schedule_free":
        optimizer.build(net.get_layer("hidden").trainable_variables)
        second.build(net.get_layer("head").trainable_variables)


def train(cell, framework, *, is_plain=False):
    """Trains the program of a cell.

    Args:
        cell: The cell.
        framework: The package of an explicit program; None elsewhere.
        is_plain: Whether plain Keras trains it, which needs help at times.

    Returns:
        What is compared, by name.
    """
    keras.utils.set_random_seed(7)
    net, optimizer = net_of(cell), optimizer_of(cell)
    if is_plain and cell["training"] != "two_optimizers":
        build(cell, net, optimizer, None)
    if cell["training"] in axes.LOOPS:
        loop(cell, net, optimizer, framework)
        return outcome(net, optimizer, {})
    model, second = net, None
    if cell["training"] == "two_optimizers":
        second = optimizer_of(cell)
        if is_plain:
            build(cell, net, optimizer, second)
    if cell["training"] in ("train_step", "two_optimizers"):
        model = Own(net, second, tracks=cell["metric"] == "tracker")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if framework is None:
        model.compile(optimizer, loss, metrics=metrics_of(cell))
    else:
        model = framework.distribute(model, optimizer, loss, metrics=metrics_of(cell))
    if cell["training"] == "on_batch":
        return on_batch(cell, model, optimizer)
    rates = Rates()
    callbacks = [rates]
    if cell["rate"] == "callback":
        lower = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        callbacks.append(lower)
    data, how = given(cell)
    history = model.fit(*data, epochs=EPOCHS, verbose=0, callbacks=callbacks, **how)
    found = {**history.history, "seen rates": rates.seen}
    return outcome(model, optimizer, found)


def loop(cell, net, optimizer, framework):
    if framework is not None:
        framework.distribute(net, optimizer)
    batches = batches_of(cell)
    if hasattr(framework, "shard") and isinstance(batches, tf.data.Dataset):
        batches = framework.shard(batches)

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = optimizer.scale_loss(loss_of(y, net(x, training=True)))
        weights = net.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))

    if cell["training"] == "graph_loop":
        step = tf.function(step)
    for epoch in range(EPOCHS):
        if cell["rate"] == "callback" and epoch:
            optimizer.learning_rate = float(optimizer.learning_rate) / 2
        for x, y in batches:
            step(x, y)


def on_batch(cell, model, optimizer):
    logs = []
    for epoch in range(EPOCHS):
        if cell["rate"] == "callback" and epoch:
            optimizer.learning_rate = float(optimizer.learning_rate) / 2
        model.reset_metrics()
        for x, y in batches_of(cell):
            logs.append(model.train_on_batch(x, y, return_dict=True))
    return outcome(model, optimizer, {k: [log[k] for log in logs] for k in logs[0]})


def outcome(model, optimizer, series):
    return {
        **{f"w{i}": w for i, w in enumerate(model.get_weights())},
        **{name: np.asarray(values, "float64") for name, values in series.items()},
        "iterations": int(optimizer.iterations),
    }


def write(path, arrays):
    """Writes arrays, also on a rank whose files go elsewhere."""
    room = io.BytesIO()
    np.savez(room, **arrays)
    descriptor = posix.open(
        f"{path}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644
    )
    posix.write(descriptor, room.getvalue())
    posix.close(descriptor)
    posix.rename(f"{path}.part", path)


def main(cells, folder, *, is_plain):
    rank = int(os.environ.get("OMPI_COMM_WORLD_RANK", 0))
    for index, cell in cells.items():
        explicit = cell["form"] == "explicit" and not is_plain
        if is_plain:
            cell = beside_keras(cell)
        name = axes.WAYS[cell["way"]].framework
        framework = importlib.import_module(name) if explicit else None
        try:
            found = train(cell, framework, is_plain=is_plain)
        except Exception:
            found = {"error": np.array(traceback.format_exc())}
        write(os.path.join(folder, f"{index}.{rank}.npz"), found)
        if "error" in found:
            raise SystemExit(1)  # of a job that has failed nothing more is known


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        chosen = json.load(file)
    main(chosen, sys.argv[2], is_plain=sys.argv[3:] == ["plain"])
