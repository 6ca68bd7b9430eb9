"""Programs that are distributed already: ``strangers.py NAME``."""

import sys

import keras
import numpy as np
from keras import layers


def build():
    return keras.Sequential([keras.Input((4,)), layers.Dense(1)])


def fit(optimizer="sgd"):
    model = build()
    model.compile(optimizer, "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)
    print("trained", flush=True)


def mirrored():
    import tensorflow as tf

    with tf.distribute.MirroredStrategy().scope():
        fit()


def multi_worker():
    import tensorflow as tf

    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        fit()


def horovod():
    import horovod.tensorflow.keras as hvd

    hvd.init()
    fit(hvd.DistributedOptimizer(keras.optimizers.SGD(0.01 * hvd.size())))


def explicit_mirrored():
    import tensorflow as tf

    import hfdt

    with tf.distribute.MirroredStrategy().scope():
        model = build()
    hfdt.distribute(model, "sgd", "mse")
    print("trained", flush=True)


def explicit_horovod():
    import horovod.tensorflow.keras as hvd

    import hfdt

    hfdt.init()
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.01))
    hfdt.distribute(build(), optimizer, "mse")
    print("trained", flush=True)


def script():
    """What a script may do that knows nothing of HFDT."""
    tell(mirrored, multi_worker, horovod)


def explicit():
    """What a script may do that calls HFDT."""
    tell(explicit_mirrored, explicit_horovod)


def tell(*cases):
    for case in cases:
        try:
            case()
        except RuntimeError as error:
            print(f"{case.__name__}: {error}", flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
