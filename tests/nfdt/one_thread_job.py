"""Trains in one process where TensorFlow has one thread for functions.

Prints how far what it trains is from what plain Keras makes of it.
"""

import sys

import keras
import numpy as np

import nfdt
from tests.nfdt.simulation import toys

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(32, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}


def model():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])


plain, trained = model(), model()
plain.compile(keras.optimizers.Adam(0.02), "mse")
plain.fit(X, Y, **FIT)
optimizer = keras.optimizers.Adam(0.02)
if sys.argv[1] == "alone":
    nfdt.distribute(trained, optimizer, "mse", algorithm="asgd").fit(X, Y, **FIT)
else:
    choices = {"cluster": toys.cluster([1.0]), "algorithm": "asgd"}
    nfdt.simulate(trained, optimizer, "mse", (X, Y), fit=FIT, **choices)
pairs = zip(plain.get_weights(), trained.get_weights(), strict=True)
print("difference", max(float(np.abs(a - b).max()) for a, b in pairs))
