#!/bin/sh
# keras.saving.load_model returns an untrained model from an Orbax checkpoint.
#
# Versions: keras 3.15.1, orbax-checkpoint 0.12.8, tensorflow-cpu 2.21.0, Python 3.11.
#
# A Sequential model that begins with an Input is trained with
# keras.callbacks.OrbaxCheckpoint, and read back by keras.saving.load_model. Nothing
# fails and nothing is said, but its weights are new random ones, while its optimizer is
# the trained one. load_weights on the same checkpoint gives the trained weights.
#
# The constructor builds the layers inside the model's name scope
# ("sequential/dense/kernel"), from_config builds them outside it ("dense/kernel"), and
# Model.set_state_tree, which matches variables by path, passes over what it does not
# find. A functional model has the same paths both times, and is read back whole.
#
# Seen:
#   trained paths      ['sequential/dense/kernel', 'sequential/dense/bias']
#   loaded paths       ['dense/kernel', 'dense/bias']
#   steps of optimizer 15 and 15
#   weights equal      False by load_model, True by load_weights, True if functional
#
# Ends with 1 when that is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet keras==3.15.1 orbax-checkpoint==0.12.8 tensorflow-cpu==2.21.0
cat > program.py <<'PROGRAM'
import os
import sys

import keras
import numpy as np

x = np.random.default_rng(0).normal(size=(100, 6)).astype("float32")
y = x[:, :1]


def train(model, folder):
    model.compile("adam", "mse")
    saves = keras.callbacks.OrbaxCheckpoint(os.path.abspath(folder))
    model.fit(x, y, batch_size=20, epochs=3, verbose=0, callbacks=[saves])
    return keras.saving.load_model(os.path.abspath(folder))


def paths(model):
    return [variable.path for variable in model.trainable_variables]


def equal(first, second):
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, name="dense")])
loaded = train(model, "sequential")
same = keras.models.clone_model(model)
same.load_weights(os.path.abspath("sequential"))
inputs = keras.Input((6,))
functional = keras.Model(inputs, keras.layers.Dense(1)(inputs))
steps = [int(m.optimizer.iterations) for m in (model, loaded)]
found = [
    equal(model, loaded),
    equal(model, same),
    equal(functional, train(functional, "functional")),
]
print("trained paths     ", paths(model))
print("loaded paths      ", paths(loaded))
print("steps of optimizer", *steps)
print("weights equal     ", *found)
sys.exit(0 if (steps, found) == ([15, 15], [False, True, True]) else 1)
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python program.py
