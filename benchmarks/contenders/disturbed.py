"""An ordinary Keras script that notes each batch, and keeps its last weights.

``BATCHES`` and ``WEIGHTS`` name the files, the only argument is the number of epochs.
"""

import os
import sys
import time

import keras
import numpy as np

from benchmarks.contenders import shared

BATCH = 256


class Note(keras.callbacks.Callback):
    """Appends a line for each batch: time, and the number of the batch."""

    def on_train_batch_end(self, batch, logs=None):
        with open(os.environ["BATCHES"], "a") as file:
            file.write(f"{time.time()} {int(self.model.optimizer.iterations)}\n")


keras.utils.set_random_seed(1)
x, y, source = shared.read_data(shared.IMAGES_IN_SET)
model = shared.build_model("cnn")
model.compile(
    keras.optimizers.Adam(1e-3),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
history = model.fit(x, y, BATCH, epochs=int(sys.argv[1]), callbacks=[Note()], verbose=0)
np.savez(os.environ["WEIGHTS"], *[v.numpy() for v in model.variables])
print(f"{source}: loss {history.history['loss'][-1]!r}")
