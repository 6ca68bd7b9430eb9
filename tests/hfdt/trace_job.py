"""Run on two ranks: what a trace changes in the numbers, which is nothing.

Everything is trained twice, and recorded the second time, into the folder that the
argument names. Rank 1 is the slow one of a loop by hand.
"""

from __future__ import annotations

import dataclasses
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import hfdt
from hfdt import runtime, traces
from hfdt.communicator import HorovodCommunicator

BATCHES, BUCKET_BYTES, SLOW_S = 6, 20_000, 0.02
RNG = np.random.default_rng(0)
X = RNG.normal(size=(16 * BATCHES, 8)).astype("float32")
Y = X[:, :1] - X[:, 1:2] ** 2


class OwnStep(keras.Sequential):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


def network(cls=keras.Sequential, **optimizer):
    keras.utils.set_random_seed(1)
    hidden = [layers.Dense(100, activation="tanh") for _ in range(2)]
    model = cls([keras.Input((8,)), *hidden, layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9, **optimizer), "mse")
    return hfdt.distribute(model, bucket_bytes=BUCKET_BYTES)


def fitted(model):
    history = model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    return [np.array(history.history["loss"]), *model.get_weights()]


def by_hand():
    model = network()

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        variables = model.trainable_variables
        model.optimizer.apply(tape.gradient(loss, variables), variables)

    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    for x, y in hfdt.shard(data):
        if hfdt.rank():
            time.sleep(SLOW_S)
        step(x, y)
    return model.get_weights()


WAYS = {
    "own step": lambda: fitted(network(OwnStep)),
    "accumulation": lambda: fitted(network(gradient_accumulation_steps=3)),
    "loop": by_hand,
}

plain = {name: way() for name, way in WAYS.items()}
engine = runtime.engine()
# Nobody is told of anything: a step's graph holds no more than its exchange.
assert type(engine.collectives.communicator) is HorovodCommunicator
traces.begin(engine, dataclasses.replace(engine.strategy.options, trace=sys.argv[1]))
for name, way in WAYS.items():
    for one, other in zip(way(), plain[name], strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)
