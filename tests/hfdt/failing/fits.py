"""Programs that go wrong around ``fit``: ``fits.py NAME``."""

import os
import pathlib
import signal
import sys
import threading
import time

import keras
import numpy as np
from keras import layers

import hfdt

RANK = hfdt.rank()
X = np.linspace(-1, 1, 256, dtype="float32").reshape(64, 4)
Y = X.sum(1, keepdims=True)


class At(keras.callbacks.Callback):
    """Does something at the end of a batch of epoch 1, on one rank."""

    def __init__(self, action, rank):
        super().__init__()
        self.action, self.rank, self.epoch = action, rank, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch, RANK) == (1, 2, self.rank):
            self.action()


def build(units=3, kind=keras.Sequential):
    model = kind([keras.Input((4,)), layers.Dense(units), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def fit(action=lambda: None, rank=1, model=None, x=X, y=Y, epochs=3):
    (model or build()).fit(
        x, y, 8, epochs, verbose=0, callbacks=[At(action, rank)], shuffle=False
    )


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def misread():
    raise LookupError("no such label: 7")


def callback():
    fit(misread)


def train_step():
    class Own(keras.Sequential):
        def train_step(self, data):
            if RANK == 1:
                raise LookupError("no such layer: 7")
            return super().train_step(data)

    fit(model=build(kind=Own))


def plain():
    if RANK == 1:
        misread()
    fit()


def after():
    fit()
    if RANK == 1:
        misread()


def killed():
    fit(kill)


def models():
    fit(model=build(units=3 + RANK))


def epochs():
    fit(epochs=3 - RANK)


def batches():
    rows = 64 - 16 * RANK
    fit(x=X[:rows], y=Y[:rows])


def leaves():
    if RANK == 0:
        fit()


def sleep():
    time.sleep(1e4)


def sleeps():
    fit(sleep)


def alone():
    if RANK == 0:
        hfdt.allreduce(np.ones(2, "float32"))
    else:
        sleep()


def barrier():
    if RANK == 1:
        hfdt.barrier()
    else:
        sleep()


def interrupted():
    def ready():
        print("training", flush=True)
        time.sleep(1e4)

    fit(ready, rank=0)


def leave():
    sys.exit(3)


def left():
    fit(leave)


def nan():
    y = Y.copy()
    y[28:] = np.nan  # batch 3, in the part of rank 1
    fit(y=y)


def borne():
    """Trains on and tells what became of the weights."""
    model = build()
    y = Y.copy()
    y[28:32] = np.inf
    fit(model=model, y=y)
    weights = np.concatenate([w.ravel() for w in model.get_weights()])
    alike = hfdt.allgather(weights[None], "weights").numpy()
    print("steps", int(model.optimizer.iterations.numpy()))
    print("finite", np.isfinite(alike).all())
    print("same", np.array_equal(alike[0], alike[1], equal_nan=True))


def shape():
    fit(x=X[:, :3])


def data():
    def batches():
        for i in range(8):
            if (RANK, i) == (1, 3):
                raise OSError("part-3.csv is cut short")
            yield X[:8], Y[:8]

    build().fit(batches(), epochs=1, verbose=0)


def saved():
    class Slow(layers.Dense):
        def save_own_variables(self, store):
            super().save_own_variables(store)
            if int(model.optimizer.iterations.numpy()) > 8:  # the second time
                pathlib.Path("writing").touch()
                time.sleep(1e4)

    def die():
        while not os.path.exists("writing"):
            time.sleep(0.1)
        kill()

    model = keras.Sequential([keras.Input((4,)), Slow(1)])
    model.compile("sgd", "mse")
    if RANK == 1:
        threading.Thread(target=die, daemon=True).start()
    checkpoint = keras.callbacks.ModelCheckpoint("model.keras")
    model.fit(X, Y, 8, 3, verbose=0, callbacks=[checkpoint])


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
