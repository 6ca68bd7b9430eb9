"""A program with several fits, which kills itself where it is told to.

``KILL`` is ``FIT:BATCH``, the number of the fit and of the batch in it after whose step
the process ends, ``FIT:test`` for its second validation, ``FIT:write`` for the moment
before a snapshot gets its name, or ``FIT:BATCH:SIGNAL``; or several, parted by commas,
for each run of an elastic job. ``KILL_RANK`` is who does it. What the program has come
to is in the file ``OUT``.
"""

import json
import os
import random
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(7)
RANK = os.environ.get("OMPI_COMM_WORLD_RANK", "0")
KILL = [text.split(":") for text in os.environ.get("KILL", "0:0").split(",")]
# The launcher gives each run of an elastic job a folder of its own.
RUN = int(os.environ.get("HFDT_JOB_DIR", "").partition("restart-")[2] or 0)
IS_KILLER = RANK == os.environ.get("KILL_RANK", RANK)
ANY_SIZE = "any" in sys.argv  # nothing that depends on the number of ranks
rng = np.random.default_rng(0)
x = rng.normal(size=(90, 6)).astype("float32")
y = (x[:, :1] * x[:, 1:2] > 0).astype("float32")
fits = 0
written = []  # of each snapshot, in which fit


def die(fit, place):
    """Ends this process where it is told to in this run."""
    words = KILL[RUN] if RUN < len(KILL) else []
    if IS_KILLER and words[:2] == [str(fit), str(place)]:
        os.kill(os.getpid(), int(words[2]) if len(words) > 2 else signal.SIGKILL)


class Log(keras.callbacks.Callback):
    """Kills, and keeps what a user's callback would."""

    def __init__(self):
        super().__init__()
        global fits
        fits += 1
        self.fit, self.batches, self.tests = fits, 0, 0
        self.rates = {"seen": []}
        self.draws = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        die(self.fit, self.batches)

    def on_epoch_end(self, epoch, logs=None):
        self.rates["seen"].append(float(self.model.optimizer.iterations.numpy()))
        self.draws += [np.random.rand(), keras.random.uniform((2,)).numpy()]

    def on_test_batch_end(self, batch, logs=None):
        self.tests += 1
        if self.tests > 2:
            die(self.fit, "test")


def replace(*paths, inner=os.replace):
    if "step-" in str(paths[1]):
        written.append(fits)
        if written.count(fits) > 2:
            die(fits, "write")
    return inner(*paths)


os.replace = replace


def dense(units, *, seed, **given):
    kernel = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Dense(units, kernel_initializer=kernel, **given)


def network(seed, *more):
    drop = (
        ()
        if ANY_SIZE
        else (keras.layers.BatchNormalization(), keras.layers.Dropout(0.3))
    )
    return [
        dense(12, seed=seed, activation="tanh"),
        *drop,
        *more,
        dense(1, seed=seed + 1),
    ]


found = {}


def note(name, model, history, *others):
    variables = [*model.variables, *(v for o in others for v in o.variables)]
    for i, variable in enumerate(variables):
        found[f"{name} {i}"] = np.asarray(variable.numpy(), np.float64)
    for metric, values in history.history.items():
        found[f"{name} {metric}"] = np.array(values)
    found[f"{name} epochs"] = np.array(history.epoch)


def note_callback(name, callback, *attributes):
    for attribute in attributes:
        found[f"{name} {attribute}"] = np.array(
            getattr(callback, attribute), np.float64
        )


LOSS = keras.losses.BinaryCrossentropy(from_logits=True)

# 1: arrays, not built before; callbacks that decide; Adam with averages.
model = keras.Sequential(network(1))
model.compile(
    keras.optimizers.Adam(0.01, use_ema=True, gradient_accumulation_steps=2),
    LOSS,
    metrics=["accuracy", keras.metrics.AUC(from_logits=True)],
)
log = Log()
stopping = keras.callbacks.EarlyStopping(
    "val_loss", min_delta=0.01, patience=9, restore_best_weights=True
)
plateau = keras.callbacks.ReduceLROnPlateau(
    "val_loss", factor=0.5, patience=0, min_delta=0.1
)
rows = keras.callbacks.CSVLogger(os.environ["OUT"] + ".csv")
swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
history = model.fit(
    x,
    y,
    batch_size=16,
    epochs=3,
    validation_data=(x[:40], y[:40]),
    validation_batch_size=16,
    callbacks=[log, stopping, plateau, rows, swap],
    verbose=0,
)
note("arrays", model, history, model.optimizer)
note_callback("stopping", stopping, "best", "wait", "best_epoch", "min_delta")
note_callback("plateau", plateau, "best", "wait", "cooldown_counter")
found["score"] = np.array(model.evaluate(x, y, verbose=0))
found["log"] = np.array([log.batches, log.tests, *log.rates["seen"]])
found["draws"] = np.concatenate([np.ravel(d) for d in log.draws])


# 2: a step of the user's own with two optimizers, which are built in it.
class Pair(keras.Model):
    def __init__(self):
        super().__init__()
        self.one = keras.Sequential(network(3))
        self.two = keras.Sequential([dense(4, seed=5), dense(1, seed=6)])
        self.for_one, self.for_two = (
            keras.optimizers.SGD(0.05, momentum=0.9),
            keras.optimizers.RMSprop(0.01),
        )
        self.total = keras.metrics.Mean("total")

    @property
    def metrics(self):
        return [self.total]

    def call(self, x, training=False):
        return self.one(x, training=training) + self.two(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            loss = LOSS(y, self(x, training=True))
        for part, optimizer in ((self.one, self.for_one), (self.two, self.for_two)):
            optimizer.apply(
                tape.gradient(loss, part.trainable_variables), part.trainable_variables
            )
        self.total.update_state(loss)
        return {"total": self.total.result()}


pair = Pair()
pair.compile(optimizer="sgd")
data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(90, seed=3).batch(16)
other = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(90, seed=4).batch(16)
history = pair.fit(data, epochs=3, callbacks=[Log()], verbose=0)
note("pair", pair, history, pair.for_one, pair.for_two)

# 3: mixed precision, several steps an execution, an epoch that is part of a pass.
policy = "float32" if ANY_SIZE else "mixed_float16"
keras.config.set_dtype_policy(policy)
inputs = keras.Input((6,))
half = keras.Model(inputs, keras.Sequential(network(7))(inputs))
half.compile(
    keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9)),
    LOSS,
    metrics=["mae"],
    steps_per_execution=2,
)
history = half.fit(
    data.repeat(),
    steps_per_epoch=4,
    epochs=4,
    validation_data=other,
    callbacks=[Log()],
    verbose=0,
)
note("half", half, history, half.optimizer)
keras.config.set_dtype_policy("float32")


# 4 and 5: Python makes the batches. Targets of 4 have the number of their sample.
class Seen(keras.metrics.Metric):
    """How often each sample came."""

    def __init__(self):
        super().__init__(name="seen")
        self.counts = self.add_weight((90,), "zeros", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        ids = tf.cast(y_true[:, 1], tf.int32)
        self.counts.assign_add(tf.reduce_sum(tf.one_hot(ids, 90), 0))

    def result(self):
        least, most = tf.reduce_min(self.counts), tf.reduce_max(self.counts)
        return {"least": least, "most": most}


def loss_of_label(y_true, y_pred):
    return keras.losses.binary_crossentropy(y_true[:, :1], y_pred, from_logits=True)


numbered = np.concatenate([y, np.arange(90, dtype="float32")[:, None]], 1)


class Rows(keras.utils.PyDataset):
    """Draws in its batches, and shuffles what it has shuffled before."""

    def __init__(self):
        super().__init__()
        self.order, self.made = np.arange(90), 0

    def __len__(self):
        return 6

    def __getitem__(self, i):
        self.made += 1
        rows = self.order[15 * i : 15 * i + 15]
        noise = np.random.normal(size=(15, 6)) * random.random()
        return x[rows] + noise.astype("float32"), numbered[rows]

    def on_epoch_end(self):
        np.random.shuffle(self.order)


def stream():
    for i in range(1000):
        yield x[i % 7 :: 7], y[i % 7 :: 7]


model.compile("sgd", loss_of_label, metrics=[Seen()])
data = Rows()
history = model.fit(data, epochs=3, shuffle=True, callbacks=[Log()], verbose=0)
note("rows", model, history)
print(f"rank {RANK} has made {data.made} batches.", flush=True)
model.compile("sgd", LOSS, metrics=["mae"])
generator = stream()
history = model.fit(
    generator, steps_per_epoch=5, epochs=2, callbacks=[Log()], verbose=0
)
note("stream", model, history)

# 6: arrays with their numbers.
model.compile("sgd", loss_of_label, metrics=[Seen()])
history = model.fit(x, numbered, 16, epochs=2, callbacks=[Log()], verbose=0)
note("numbered", model, history)

if RANK == "0":
    np.savez(os.environ["OUT"], **found)
print("finished", json.dumps(len(found)))
