"""A fit whose callbacks hold large arrays; it kills itself in its third epoch."""

import os
import signal

import keras
import numpy as np

RANK = os.environ["OMPI_COMM_WORLD_RANK"]


class Own(keras.callbacks.Callback):
    """Holds what is not alike on all ranks."""

    def __init__(self):
        super().__init__()
        self.large, self.small = np.full(10_000, float(RANK) / 2), [float(RANK)]

    def on_train_batch_end(self, batch, logs=None):
        self.large = self.large + 1
        if self.large[0] > 10 and RANK == "0":
            os.kill(os.getpid(), signal.SIGKILL)


keras.utils.set_random_seed(1)
x = np.random.default_rng(0).normal(size=(64, 100)).astype("float32")
model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(100)])
model.compile("adam", "mse")
best = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
model.fit(x, x, 16, epochs=9, verbose=0, callbacks=[Own(), best])
