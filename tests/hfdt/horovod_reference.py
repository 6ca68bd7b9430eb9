"""Trains one model on every rank, by Horovod with Keras 2 or by HFDT with Keras 3.

::

    mpirun -np 2 python horovod_reference.py horovod|hfdt OUT.npz

Rank r takes batch r of every ``size`` batches. Rank 0 writes the final weights.
"""

from __future__ import annotations

import os
import sys

import numpy as np

BATCH, BATCHES, FEATURES, HIDDEN, CLASSES = 8, 24, 6, 16, 3


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * BATCHES, FEATURES)).astype("float32")
    return x, rng.integers(0, CLASSES, len(x))


def model(keras):
    """The same network with the same weights, in either Keras."""
    made = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(HIDDEN, activation="tanh"),
            keras.layers.Dense(CLASSES),
        ]
    )
    rng = np.random.default_rng(1)
    made.set_weights([rng.normal(size=w.shape, scale=0.3) for w in made.get_weights()])
    return made


def optimizers(keras):
    return {
        "sgd": keras.optimizers.SGD(0.1, momentum=0.9),
        "nesterov": keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        "adam": keras.optimizers.Adam(0.01),
    }


def loss(keras):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def by_horovod():
    """Horovod's own optimizer averages the gradients of Keras 2."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import horovod.tensorflow.keras as hvd
    import tf_keras as keras

    hvd.init()
    x, y = data()
    own = (np.arange(len(x)) // BATCH) % hvd.size() == hvd.rank()
    for name, optimizer in optimizers(keras).items():
        trained = model(keras)
        trained.compile(hvd.DistributedOptimizer(optimizer), loss(keras))
        trained.fit(x[own], y[own], BATCH, epochs=2, shuffle=False, verbose=0)
        yield name, trained, hvd.rank()


def by_hfdt():
    import keras

    import hfdt

    x, y = data()
    for name, optimizer in optimizers(keras).items():
        trained = model(keras)
        hfdt.distribute(trained, optimizer, loss(keras), batch="per_worker")
        trained.fit(x, y, BATCH, epochs=2, shuffle=False, verbose=0)
        yield name, trained, hfdt.rank()


def main(how, out):
    weights, first = {}, False
    for name, trained, rank in {"horovod": by_horovod, "hfdt": by_hfdt}[how]():
        first = rank == 0
        for i, value in enumerate(trained.get_weights()):
            weights[f"{name}/{i}"] = value
    if first:
        np.savez(out, **weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
