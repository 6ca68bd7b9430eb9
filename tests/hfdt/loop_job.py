"""A program with loops of its own and a fit, which kills itself where it is told to.

``KILL`` is ``LOOP:STEP`` or ``LOOP:STEP:SIGNAL``, for the number of the loop from 1 and
of the optimizer's step in whose body the process ends. ``KILL_RANK`` is who does it.
What the program has come to is in the file ``OUT``.
"""

import os
import signal
import sys
import time

import keras
import numpy as np
import tensorflow as tf

RANK = os.environ.get("OMPI_COMM_WORLD_RANK", "0")
KILL = os.environ.get("KILL", "0:0").split(":")
IS_KILLER = RANK == os.environ.get("KILL_RANK", RANK)
ANY_SIZE = "any" in sys.argv  # nothing that depends on the number of ranks
keras.utils.set_random_seed(7)
rng = np.random.default_rng(0)
x = rng.normal(size=(90, 6)).astype("float32")
y = (x[:, :1] * x[:, 1:2] > 0).astype("float32")
data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(90, seed=3).batch(16)
LOSS = keras.losses.BinaryCrossentropy(from_logits=True)
loops = 0
found = {}


def die(step):
    if IS_KILLER and KILL[:2] == [str(loops), str(step)]:
        if RANK == "0":
            time.sleep(1)  # a snapshot of the batches before it is written
        os.kill(os.getpid(), int(KILL[2]) if len(KILL) > 2 else signal.SIGKILL)


def network(seed):
    def dense(units, seed, **given):
        kernel = keras.initializers.GlorotUniform(seed=seed)
        return keras.layers.Dense(units, kernel_initializer=kernel, **given)

    drop = [keras.layers.BatchNormalization(), keras.layers.Dropout(0.3, seed=seed)]
    between = [] if ANY_SIZE else drop
    first = dense(12, seed, activation="tanh")
    return keras.Sequential([first, *between, dense(1, seed + 1)])


def note(name, *holders):
    for i, variable in enumerate(v for holder in holders for v in holder.variables):
        found[f"{name} {i}"] = np.asarray(variable.numpy(), np.float64)


def train(name, model, optimizer, epochs):
    """Trains by hand, with a metric that each epoch begins anew."""
    global loops
    total = keras.metrics.Mean()

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = LOSS(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(
            zip(gradients, model.trainable_variables, strict=True)
        )
        total.update_state(loss)
        return loss

    for epoch in range(epochs):
        loops += 1
        total.reset_state()
        for inputs, targets in data:
            step(inputs, targets)
            die(int(optimizer.iterations))
        value = float(total.result())  # of this rank's parts
        found[f"{name} total {epoch}"] = 0.4 < value < 1 if ANY_SIZE else value
    note(name, model, optimizer)


# 1 to 3: one model, whose variables the first step makes.
model = network(1)
train("first", model, keras.optimizers.Adam(0.01), 3)

# A fit of the same model; 4 and 5: another one with a schedule and momentum.
model.compile(keras.optimizers.RMSprop(0.01), LOSS)
history = model.fit(data, epochs=2, verbose=0)
note("fit", model, model.optimizer)
found["fit loss"] = np.array(history.history["loss"])
rate = keras.optimizers.schedules.ExponentialDecay(0.05, 4, 0.9)
train("second", network(5), keras.optimizers.SGD(rate, momentum=0.9), 2)

if RANK == "0":
    np.savez(os.environ["OUT"], **found)
print("finished", len(found))
