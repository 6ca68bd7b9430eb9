"""A fit whose weights count what was merged, in which something happens once.

``lives.py counts`` adds 1 to a weight of its own for each batch of each epoch that is
merged into the parameters; ``lives.py learns`` trains a small network with Adam, and
``lives.py decides`` the same one with callbacks that end it early.

``HAPPENS`` is ``WHAT@EPOCH:STEP``, or several, parted by commas: what happens behind a
worker's step of that number in an epoch, and with 0 before the first. ``kill1`` kills
worker 1 there, ``server`` the last process of the job and ``servers`` the last two,
``raise0`` raises on worker 0, ``hold0`` makes it wait for a minute. Each happens once,
however often the program runs; with ``!`` behind it, in each run.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import tensorflow as tf

CASE = sys.argv[1]
BATCHES, EPOCHS = 16, 9 if CASE == "decides" else 3
STEP_S = 0.04
WORKER = int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
SIZE = int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1"))
HAPPENS = [
    re.fullmatch(r"([a-z]+)(\d?)@(\d+):(\d+)(!?)", word).groups()
    for word in filter(None, os.environ.get("HAPPENS", "").split(","))
]
epoch, steps = [0], [0]


def is_first(what):
    """Whether this has not happened in an earlier run either."""
    # By another program: what workers but the first make themselves is not kept.
    words = ["mkdir", f"{os.environ['MARKS']}-{what}"]
    return not subprocess.run(words, stderr=subprocess.DEVNULL).returncode


def look():
    for what, worker, at_epoch, at_step, always in HAPPENS:
        here = (epoch[0], steps[0]) == (int(at_epoch), int(at_step))
        if not here or WORKER != int(worker or 0):
            continue
        if always or is_first(f"{what}{worker}-{at_epoch}-{at_step}"):
            happen(what)


def happen(what):
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hold":
        print("holds", flush=True)
        time.sleep(60)
        return
    if what == "raise":
        raise LookupError("no such label: 7")
    count = {"server": 1, "servers": 2}[what]
    for pid in [process(SIZE - 1 - number) for number in range(count)]:
        os.kill(pid, signal.SIGKILL)


def process(rank):
    """Finds a process of this job."""
    mark = f"JOB_MARK={os.environ['JOB_MARK']}".encode()
    wanted = {mark, f"OMPI_COMM_WORLD_RANK={rank}".encode()}
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted <= set(path.read_bytes().split(b"\0")):
                return int(path.parent.name)
    raise LookupError(f"no rank {rank}")


class Watch(keras.callbacks.Callback):
    def on_epoch_begin(self, number, logs=None):
        epoch[0], steps[0] = number, 0
        print(f"worker {WORKER} begins epoch {number}", flush=True)
        look()

    def on_train_batch_end(self, batch, logs=None):
        steps[0] += 1
        time.sleep(STEP_S)
        look()


class Seen(keras.callbacks.Callback):
    """Keeps what a user's callback would."""

    def __init__(self):
        super().__init__()
        self.epochs, self.total = [], 0.0

    def on_epoch_end(self, number, logs=None):
        self.epochs.append(number)
        self.total += 0.5


class Counts(keras.layers.Layer):
    """A weight for each batch of each epoch; the one of a batch is picked."""

    def build(self, shape):
        self.counts = self.add_weight(shape=(EPOCHS * BATCHES,), initializer="zeros")

    def call(self, x):
        now = tf.ensure_shape(tf.py_function(lambda: epoch[0], [], tf.int64), [])
        index = tf.reshape(tf.cast(x, tf.int64), [-1]) + now * BATCHES
        return tf.one_hot(index, EPOCHS * BATCHES) @ self.counts[:, None]


class Counting(keras.Sequential):
    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_sum(self(data[0], training=True))
        trained = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, trained), trained)
        return {"loss": loss}


def main():
    keras.utils.set_random_seed(1)
    x = np.arange(BATCHES, dtype="float32")[:, None]
    y = np.sin(x)
    if CASE == "counts":
        model = Counting([keras.Input((1,)), Counts()])
        model.compile(keras.optimizers.SGD(1.0))
    else:
        hidden = keras.layers.Dense(4, "tanh")
        parts = [keras.layers.Rescaling(0.1), hidden, keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((1,)), *parts])
        model.compile(keras.optimizers.Adam(0.01), "mse")
    # No epoch is better than the first by so much.
    keras_own = keras.callbacks
    stopping = keras_own.EarlyStopping("loss", min_delta=99.0, patience=4)
    falling = keras_own.ReduceLROnPlateau("loss", 0.5, patience=2, min_delta=99.0)
    rows, seen = keras_own.CSVLogger(f"{os.environ['MARKS']}.csv"), Seen()
    decides = [stopping, falling, rows, seen] if CASE == "decides" else []
    history = model.fit(
        x, y, batch_size=1, epochs=EPOCHS, callbacks=[Watch(), *decides], verbose=0
    )
    weights = np.concatenate([np.ravel(w) for w in model.get_weights()])
    found = {
        "weights": weights.tolist(),
        "epochs": history.epoch,
        "rate": float(model.optimizer.learning_rate),
        "seen": [seen.epochs, seen.total, stopping.stopped_epoch, falling.wait],
    }
    print("ended", json.dumps(found), flush=True)


main()
