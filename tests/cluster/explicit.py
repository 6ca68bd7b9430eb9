"""A script that distributes its model itself: ``explicit.py hfdt`` or ``nfdt``."""

import importlib
import sys

import keras
import numpy as np

framework = importlib.import_module(sys.argv[1])
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
framework.distribute(model)
model.fit(x, x[:, :1], 16, 2, verbose=0)
