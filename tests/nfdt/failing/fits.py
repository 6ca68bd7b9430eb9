"""A small fit in which something goes wrong: ``fits.py CASE``.

A case is words joined by commas. ``kill1@4`` kills worker 1 in its fifth step, with a
batch in hand, ``stop1@4`` stops it there, ``hold1@4`` makes that step last 3 s,
``raise0@4`` raises there, ``exit1@4`` leaves with code 3, ``fewer1`` gives worker 1
another model; ``killlast1`` kills it in the last epoch, when most batches are done,
``killserver0@4`` and ``stopserver0@4`` kill and stop the server, ``nan`` makes one
sample NaN, ``momentum`` gives SGD some, ``wide`` is a model with a large kernel,
``broken`` is an optimizer that fails on the server, ``byhand`` a loop of
``train_on_batch``, ``slow`` makes steps last 50 ms, ``lag2`` those of worker 2 four
times as long.

Workers wait for the first step of those that have a case, so that none of these is
still traced when the others have done all batches.
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

from tests.nfdt.own_optimizers import Broken

BATCHES, BATCH, EPOCHS = 24, 4, int(os.environ.get("EPOCHS", "3"))
CASE = sys.argv[1].split(",")
WORKER = int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
FAULTS = [re.fullmatch(rf"([a-z]+){WORKER}(?:@(\d+))?", word) for word in CASE]
PLAN = {int(found[2] or -1): found[1] for found in FAULTS if found}
STEP_S = (0.05 if "slow" in CASE else 0.005) * (4 if f"lag{WORKER}" in CASE else 1)
AWAITED = {int(found) for found in re.findall(r"[a-z]+(\d)@[1-9]", sys.argv[1])}
START_S = 60
epoch, steps, last = [0], [0], [0]


def fault(what):
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hold":
        time.sleep(3)
        return
    if what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if what in ("killserver", "stopserver"):
        number = signal.SIGKILL if what == "killserver" else signal.SIGSTOP
        os.kill(server(), number)
        return
    if what == "exit":
        sys.exit(3)
    raise LookupError("no such label: 7")


def server():
    """Finds the process of this job that serves."""
    wanted = {
        f"{name}={value}".encode()
        for name, value in (
            ("JOB_MARK", os.environ["JOB_MARK"]),
            ("OMPI_COMM_WORLD_RANK", int(os.environ["OMPI_COMM_WORLD_SIZE"]) - 1),
        )
    }
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted <= set(path.read_bytes().split(b"\0")):
                return int(path.parent.name)
    raise LookupError("no server")


def begin():
    """Waits until all workers that have a case are in their first step."""
    path = os.environ["BEGUN"] + os.environ["JOB_MARK"]
    # By another program: what workers but the first write themselves is not kept.
    subprocess.run(["touch", f"{path}-{WORKER}"], check=True)
    end = time.monotonic() + START_S
    while not all(pathlib.Path(f"{path}-{worker}").exists() for worker in AWAITED):
        if time.monotonic() > end:
            sys.exit("a worker that has a case has not begun")
        time.sleep(0.01)


class Model(keras.Sequential):
    """Tells of each batch that was trained on; dies in a step, with it in hand."""

    def train_step(self, data):
        tf.py_function(self.before, [], [])
        logs = super().train_step(data)
        tf.py_function(self.after, [data[0][:, 0]], [])
        return logs

    def before(self):
        if AWAITED and steps[0] == 0 and "byhand" not in CASE:
            begin()
        time.sleep(STEP_S)
        is_last = epoch[0] == EPOCHS - 1 and last[0] > BATCHES // 2
        if PLAN.get(-1) == "killlast" and is_last:
            fault("kill")
        if PLAN.get(steps[0]) not in (None, "raise", "exit"):
            fault(PLAN[steps[0]])

    def after(self, first):
        numbers = [int(n) for n in first.numpy()]
        print(json.dumps({"epoch": epoch[0], "samples": numbers}), flush=True)


class Watch(keras.callbacks.Callback):
    """Raises or exits where the case says so."""

    def on_epoch_begin(self, number, logs=None):
        epoch[0] = number
        print(f"worker {WORKER} begins epoch {number}", flush=True)

    def on_train_batch_begin(self, batch, logs=None):
        last[0] = batch
        if PLAN.get(steps[0]) in ("raise", "exit"):
            fault(PLAN[steps[0]])

    def on_train_batch_end(self, batch, logs=None):
        steps[0] += 1


def main():
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(BATCHES * BATCH, 3)).astype("float32")
    x[:, 0] = np.arange(len(x))
    y = x[:, 1:].sum(axis=1, keepdims=True)
    if "nan" in CASE:
        # Of batch 13, as Keras shuffles: in no first push of three workers' four steps.
        y[76] = np.nan
    units = 2 if PLAN.get(-1) == "fewer" else 1
    scaled = keras.layers.Rescaling([0.01, 1.0, 1.0])
    wide = []
    if "wide" in CASE:
        wide = [keras.layers.Dense(400), keras.layers.Rescaling(0.1)]
    model = Model([keras.Input((3,)), scaled, *wide, keras.layers.Dense(units)])
    optimizer = keras.optimizers.SGD(0.02, 0.9 if "momentum" in CASE else 0.0)
    if "broken" in CASE:
        optimizer = Broken(0.02)
    model.compile(optimizer, "mse", metrics=["mae"])
    if "byhand" in CASE:
        for _ in range(BATCHES):
            loss = float(model.train_on_batch(x, y)[0])
            steps[0] += 1
        weights = [w.tolist() for w in model.get_weights()]
        print("ended", json.dumps([loss, weights]), flush=True)
        return
    watch, best = Watch(), keras.callbacks.ModelCheckpoint("best.keras")
    history = model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=EPOCHS,
        validation_data=(x, y),
        callbacks=[watch, best],
        verbose=2,
    )
    losses = [round(loss, 4) for loss in history.history["loss"]]
    model.save("model.keras")
    print(f"losses {losses}", flush=True)


main()
