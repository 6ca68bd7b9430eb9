"""A script that notes the loss of each batch, with the time; killed and begun again.

An ordinary Keras script. ``LOSSES`` names the file of its notes.
"""

import os
import time

import keras
import numpy as np
from sklearn.datasets import load_digits

EPOCHS, BATCH = 12, 32


class Note(keras.callbacks.Callback):
    """Appends a line for each batch: time, number of the batch, loss so far."""

    def __init__(self):
        super().__init__()
        self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        with open(os.environ["LOSSES"], "a") as file:
            file.write(f"{time.time()} {self.batches} {logs['loss']!r}\n")
        time.sleep(0.01)  # for a script that takes longer


keras.utils.set_random_seed(0)
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy")
history = model.fit(x, y, BATCH, epochs=EPOCHS, callbacks=[Note()], verbose=0)
weights = np.concatenate([np.ravel(w) for w in model.get_weights()])
print(f"loss {history.history['loss'][-1]!r}, weights {weights.sum(dtype='f8')!r}")
