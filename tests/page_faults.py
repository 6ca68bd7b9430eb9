"""Trains a small convolutional network and says the median page faults of its steps.

Usage: page_faults.py arrays|dataset|generator|py_dataset|interleaved
"""

import resource
import statistics
import sys

import keras
import numpy as np
import tensorflow as tf

BATCH, BATCHES, EPOCHS = 32, 16, 4
SAMPLES = BATCH * BATCHES


def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


class Count(keras.callbacks.Callback):
    """Notes the page faults of this process at the end of each step."""

    def __init__(self):
        super().__init__()
        self.faults = []

    def on_train_batch_end(self, batch, logs=None):
        self.faults.append(page_faults())

    def median(self):
        """Page faults of a step in the second half."""
        steps = np.diff(self.faults)
        return statistics.median(steps[len(steps) // 2 :])


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return x[rows], y[rows]


def generator():
    while True:
        yield from (Batches()[index] for index in range(BATCHES))


def interleaved():
    """Reads a generator in a function of a data set, as of several files."""
    kinds = tf.TensorSpec([28, 28, 1]), tf.TensorSpec([], tf.int64)
    rows = tf.data.Dataset.range(2).interleave(
        lambda _: tf.data.Dataset.from_generator(
            lambda: zip(x[::2], y[::2]), output_signature=kinds
        )
    )
    return rows.batch(BATCH)


keras.utils.set_random_seed(1)
x = np.random.rand(SAMPLES, 28, 28, 1).astype("float32")
y = np.random.randint(0, 10, SAMPLES).astype("int64")
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("sgd", "sparse_categorical_crossentropy")
data = {
    "arrays": lambda: {"x": x, "y": y, "batch_size": BATCH},
    "dataset": lambda: {
        "x": tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH),
    },
    "generator": lambda: {"x": generator(), "steps_per_epoch": BATCHES},
    "py_dataset": lambda: {"x": Batches()},
    "interleaved": lambda: {"x": interleaved()},
}[sys.argv[1]]()
count = Count()
model.fit(**data, epochs=EPOCHS, verbose=0, callbacks=[count])
print(f"page faults of a step: {count.median():.0f}", flush=True)
