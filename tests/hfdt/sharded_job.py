"""An explicit script that shards by itself; writes what came of it.

python sharded_job.py OUT.npz
"""

import sys

import keras
import numpy as np
import tensorflow as tf

import hfdt

x = np.arange(9, dtype="float32")[:, None]
data = tf.data.Dataset.from_tensor_slices((x, 2 * x)).batch(6)  # parts 3, 3; 2, 1
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(0.001)
hfdt.distribute(model, optimizer, "mse")

seen = []
for samples, targets in hfdt.shard(data):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(samples) - targets) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)
    seen.append(hfdt.allreduce(tf.reduce_sum(samples), "sum"))
looped = model.get_weights()[0]
history = model.fit(hfdt.shard(data).prefetch(1), verbose=0).history
if hfdt.rank() == 0:
    fitted = model.get_weights()[0]
    np.savez(sys.argv[1], seen=seen, looped=looped, fitted=fitted, **history)
