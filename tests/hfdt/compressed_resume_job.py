"""A fit whose weights go to the file ``OUT``; killed after ``KILL`` batches."""

import os
import pathlib

import keras
import numpy as np
from batch_kill import BatchKill

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(640, 64)).astype("float32")
y = rng.normal(size=(640, 10)).astype("float32")
hidden = keras.layers.Dense(128, activation="relu")
model = keras.Sequential([keras.Input((64,)), hidden, keras.layers.Dense(10)])
model.compile(keras.optimizers.SGD(0.01, 0.9), "mse")

model.fit(x, y, batch_size=32, epochs=3, verbose=0, callbacks=[BatchKill()])
data = b"".join(one.tobytes() for one in model.get_weights())
pathlib.Path(os.environ["OUT"]).write_bytes(data)
