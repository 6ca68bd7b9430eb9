"""An ordinary Keras script that notes each batch, and keeps its last weights.

``BATCHES`` and ``WEIGHTS`` name the files. Arguments are the number of epochs and the
name of the model, a CNN where there is none.
"""

import os
import sys
import time

import keras
import numpy as np

from benchmarks.contenders import shared

BATCHES = {"cnn": 256, "payload": 16}


class Note(keras.callbacks.Callback):
    """Appends a line for each batch: time, and the number of the batch."""

    def on_train_batch_end(self, batch, logs=None):
        with open(os.environ["BATCHES"], "a") as file:
            file.write(f"{time.time()} {int(self.model.optimizer.iterations)}\n")


keras.utils.set_random_seed(1)
x, y, source = shared.read_data(shared.IMAGES_IN_SET)
name = sys.argv[2] if len(sys.argv) > 2 else "cnn"
model = shared.build_model(name)
model.compile(
    keras.optimizers.Adam(1e-3),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
given = {"epochs": int(sys.argv[1]), "callbacks": [Note()], "verbose": 0}
history = model.fit(x, y, BATCHES[name], **given)
np.savez(os.environ["WEIGHTS"], *[v.numpy() for v in model.variables])
print(f"{source}: loss {history.history['loss'][-1]!r}")
