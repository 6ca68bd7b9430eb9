"""Programs whose own training loop goes wrong: ``loops.py NAME``."""

import sys
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import hfdt

RANK = hfdt.rank()
X = np.linspace(-1, 1, 256, dtype="float32").reshape(64, 4)
Y = X.sum(1, keepdims=True)
DATA = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)


def build():
    return keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(1)])


def stepper(model, optimizer):
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    return step


def train(traced=True, act=lambda i: None, spoil=lambda i, y: y, model=None, **choices):
    model = model or build()
    step = stepper(model, keras.optimizers.SGD(0.01))
    if traced:
        step = tf.function(step, **choices)
    for i, (x, y) in enumerate(DATA):
        act(i)
        step(x, spoil(i, y))
    return model


def sleep(i):
    if (RANK, i) == (1, 2):
        time.sleep(1e4)


def poison(i, y):
    return y * np.nan if (RANK, i) == (1, 2) else y


def sleeps():
    train(act=sleep)


def sleeps_eagerly():
    train(traced=False, act=sleep)


def shorter():
    def stop(i):
        if (RANK, i) == (1, 5):
            sys.exit()

    train(act=stop)


def nan():
    train(spoil=poison)


def nan_eagerly():
    train(traced=False, spoil=poison)


def compiled():
    weights = train(jit_compile=True).get_weights()
    print("trained", [round(float(w.sum()), 3) for w in weights], flush=True)


def unbuilt():
    keras.utils.set_random_seed(RANK)
    model = keras.Sequential([layers.Dense(3), layers.Dense(1)])
    train(traced=False, model=model)


def integers():
    variable = keras.Variable([1, 2], dtype="int32", trainable=True)
    keras.optimizers.SGD(1.0).apply([tf.constant([1, 1])], [variable])


def refused():
    """Errors that all ranks get."""
    for case in (integers, unbuilt):
        try:
            case()
        except (TypeError, ValueError) as error:
            print(f"{case.__name__}: {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
