"""A fit whose batches are slow, so that much can happen: ``script.py [WHAT [WHO]]``.

WHAT happens to rank WHO in the second epoch: ``raise`` or ``exit``. ``epochs``: there
are WHO of them; else the fit lasts until somebody ends it.
"""

import os
import signal
import sys
import time

WHAT, WHO = (*sys.argv[1:], "", "")[:2]
VARIABLES = ("OMPI_COMM_WORLD_RANK", "HOROVOD_RANK", "PMI_RANK", "SLURM_PROCID")
RANK = next((os.environ[name] for name in VARIABLES if name in os.environ), "0")

import keras  # noqa: E402
import numpy as np  # noqa: E402

EPOCHS = int(WHO) if WHAT == "epochs" else 5000


class Happens(keras.callbacks.Callback):
    """Says where rank 0 is, and does what was asked for."""

    def on_batch_end(self, batch, logs=None):
        time.sleep(0.05)

    def on_epoch_begin(self, epoch, logs=None):
        print(f"epoch {epoch} on {os.uname().nodename}", flush=True)
        if epoch == 1 and WHO == RANK:
            if WHAT == "raise":
                raise ValueError("this machine is not as the others")
            if WHAT == "exit":
                sys.exit(7)


if WHAT == "handler":
    signal.signal(signal.SIGUSR1, lambda *_: print(f"USR1 on rank {RANK}", flush=True))
keras.utils.set_random_seed(1)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.01), "mse")
history = model.fit(x, x[:, :1], 16, EPOCHS, verbose=0, callbacks=[Happens()])
print(f"loss {history.history['loss'][-1]:.6f}", flush=True)
