"""An explicit script with a loop of its own, which ends at the step ``KILL``.

What it has come to is in the file ``OUT``.
"""

import os
import signal
import time

import keras
import numpy as np
import tensorflow as tf

import hfdt

keras.utils.set_random_seed(3)
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
layers = [keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]
kept = {"snapshot": "s", "resume": "auto", "snapshot_every": "1steps"}
mse = keras.losses.MeanSquaredError()
model = hfdt.distribute(
    keras.Sequential(layers), keras.optimizers.Adam(0.01), mse, **kept
)
data = tf.data.Dataset.from_tensor_slices((x, 2 * x[:, :1])).shuffle(64, seed=2)
data = hfdt.shard(data.batch(16))
steps = 0


@tf.function
def step(x, y):
    with tf.GradientTape() as tape:
        loss = mse(y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    model.optimizer.apply(gradients, model.trainable_variables)


for _ in range(3):
    for batch in data:
        step(*batch)
        steps += 1
        if os.environ.get("KILL") == str(steps):
            time.sleep(0.5)  # a snapshot of the batches before it is written
            os.kill(os.getpid(), signal.SIGKILL)
if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0":
    np.savez(os.environ["OUT"], *model.get_weights(), model.optimizer.iterations)
    print("steps", steps)
