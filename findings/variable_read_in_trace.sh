#!/bin/sh
# A variable that a tf.function makes while it is traced reads as an empty array, without
# an error, though TensorFlow knows that it has no value yet.
#
# Versions: tensorflow-cpu 2.21.0, keras 3.15.1, Python 3.11.
#
# tf.function lets a function make variables in its first trace, and gives them their
# values afterwards. Whoever reads one in between, in tf.init_scope (to send its first
# value elsewhere, say, or to look whether weights are alike), gets float32 of shape (0,)
# whatever the variable's shape; its shape attribute has the right one. Reading a variable
# that was never initialised usually raises. So does Keras: fit of a model without an
# Input builds its layers in the trace of the train function, and get_weights in that
# place returns a list of empty arrays.
#
# Seen:
#   variable  shape (2, 3), is_initialized False, numpy() shape (0,); afterwards (2, 3)
#   Keras     weights in the trace (0,) (0,); after fit (4, 3) (3,)
#
# Ends with 1 when that is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet keras==3.15.1 tensorflow-cpu==2.21.0
cat > program.py <<'PROGRAM'
import sys

import keras
import numpy as np
import tensorflow as tf

made, seen = [], []


@tf.function
def function(x):
    if not made:
        made.append(tf.Variable(lambda: tf.ones([2, 3])))
        with tf.init_scope():
            known = tf.compat.v1.is_variable_initialized(made[0])
            seen.append((tuple(made[0].shape), bool(known), made[0].numpy().shape))
    return tf.reduce_sum(made[0]) + x


function(tf.constant(1.0))
seen.append(made[0].numpy().shape)


class Model(keras.Sequential):
    def train_step(self, data):
        logs = super().train_step(data)
        with tf.init_scope():
            shapes.append([weight.shape for weight in self.get_weights()])
        return logs


shapes = []
model = Model([keras.layers.Dense(3)])
model.compile("sgd", "mse")
model.fit(np.zeros((8, 4)), np.zeros((8, 3)), verbose=0)
trained = [weight.shape for weight in model.get_weights()]
print("variable", *seen)
print("Keras   ", *shapes[0], "after fit", *trained)
expected = [((2, 3), False, (0,)), (2, 3)]
is_so = seen == expected and shapes[0] == [(0,), (0,)] and trained == [(4, 3), (3,)]
sys.exit(0 if is_so else 1)
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python program.py
