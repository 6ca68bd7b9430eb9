"""A fit whose batches are slow, with results that tell all: ``elastic_script.py OUT``.

Best weights are in a callback, so that it is not variables alone that are kept.
"""

import os
import sys
import time

import keras
import numpy as np

RANK = os.environ.get("OMPI_COMM_WORLD_RANK", "0")
EPOCHS = 25


class Slow(keras.callbacks.Callback):
    """Says where rank 0 is, and leaves time for faults."""

    def on_batch_end(self, batch, logs=None):
        time.sleep(float(os.environ.get("BATCH_S", "0.1")))

    def on_epoch_begin(self, epoch, logs=None):
        print(f"epoch {epoch} on {os.uname().nodename}", flush=True)


keras.utils.set_random_seed(1)
rng = np.random.default_rng(0)
x = rng.normal(size=(96, 64)).astype("float32")
y = np.tanh(x[:, :4])
model = keras.Sequential(
    [keras.Input((64,)), keras.layers.Dense(96, "tanh"), keras.layers.Dense(4)]
)
model.compile(keras.optimizers.Adam(0.003), "mse", metrics=["mae"])
best = keras.callbacks.EarlyStopping(
    "val_loss", patience=EPOCHS, restore_best_weights=True
)
history = model.fit(
    *(x[:64], y[:64], 16, EPOCHS),
    validation_data=(x[64:], y[64:]),
    callbacks=[Slow(), best],
    verbose=0,
)
if RANK == "0":
    found = {f"weight {i}": w for i, w in enumerate(model.get_weights())}
    found |= {name: np.array(values) for name, values in history.history.items()}
    np.savez(sys.argv[1], **found)
print(f"over after {len(history.epoch)} epochs", flush=True)
