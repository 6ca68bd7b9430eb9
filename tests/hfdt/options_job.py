"""Run on two ranks: what options and layers that look at the batch do in ``fit``.

The arguments name the checks; an assertion says what does not hold.
"""

from __future__ import annotations

import sys

import keras
import numpy as np
from keras import layers

import hfdt

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = X @ np.arange(4, dtype="float32")[:, None]


def linear():
    return keras.Sequential([keras.Input((4,)), layers.Dense(1, use_bias=False)])


def same_on_all(value):
    """Asserts that a value is the same on every rank, and returns it."""
    value = np.asarray(value, "float64")
    every = hfdt.allgather(value[None]).numpy()
    np.testing.assert_array_equal(every, np.broadcast_to(value, every.shape))
    return value


def batch_per_worker():
    """Two ranks with batches of 8 make the steps of one with the same 16 samples."""
    model = hfdt.distribute(linear(), "sgd", "mse", batch="per_worker")
    start = model.get_weights()[0]
    seen = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    model.fit(X, Y, batch_size=8, shuffle=False, verbose=0, callbacks=[count])
    assert len(seen) == 4, seen
    weights = start.astype("float64")
    for i in range(0, 64, 16):
        x, y = X[i : i + 16], Y[i : i + 16]
        weights -= 0.01 * 2 * x.T @ (x @ weights - y) / 16
    np.testing.assert_allclose(same_on_all(model.get_weights()[0]), weights, 1e-5)


def batch_per_worker_uneven():
    """Five batches on two ranks: the last step has one, the other rank none."""
    model = hfdt.distribute(linear(), "sgd", "mse", batch="per_worker")
    history = model.fit(X[:40], Y[:40], batch_size=8, verbose=0, shuffle=False)
    assert np.all(np.isfinite(same_on_all(history.history["loss"])))
    same_on_all(model.get_weights()[0])


def rate_scaled_and_warmed_up():
    optimizer = keras.optimizers.SGD(0.01)
    model = hfdt.distribute(
        linear(), optimizer, "mse", lr_scale="linear", warmup_epochs=2
    )
    rates = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(
            float(optimizer.learning_rate)
        )
    )
    model.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[watch])
    expected = [0.01 * (1 + min(i / 8, 1)) for i in range(12)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


def accumulation_by_option():
    optimizer = keras.optimizers.SGD(0.01)
    model = hfdt.distribute(linear(), optimizer, "mse", accumulate=4)
    start = model.get_weights()[0].astype("float64")
    model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)
    expected = start - 0.01 * 2 * X.T @ (X @ start - Y) / 64
    np.testing.assert_allclose(same_on_all(model.get_weights()[0]), expected, 1e-5)


def first_values_are_those_of_rank_0():
    """Nothing is seeded: each rank draws its own weights, and then has rank 0's."""
    rank = int(np.random.default_rng().integers(2**31))  # differs between ranks
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(1, kernel_initializer=seeded(rank))]
    )
    own = model.get_weights()[0]
    hfdt.distribute(model, keras.optimizers.SGD(0.0), "mse")
    every = hfdt.allgather(own[None]).numpy()
    assert not np.array_equal(every[0], every[1])
    model.fit(X, Y, batch_size=16, verbose=0)
    np.testing.assert_array_equal(same_on_all(model.get_weights()[0]), every[0])


def seeded(seed):
    return keras.initializers.RandomNormal(seed=seed)


def moving_statistics_are_averaged():
    model = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization(momentum=0.0), layers.Dense(1)]
    )
    hfdt.distribute(model, keras.optimizers.SGD(0.0), "mse")
    history = model.fit(
        X, Y, batch_size=64, shuffle=False, verbose=0, validation_data=(X, Y)
    )
    norm = model.layers[0]
    mean, variance = same_on_all(norm.moving_mean), same_on_all(norm.moving_variance)
    halves = X[:32], X[32:]
    np.testing.assert_allclose(mean, X.mean(0), atol=1e-6)
    np.testing.assert_allclose(variance, np.mean([h.var(0) for h in halves], 0), 1e-5)
    # Validation must have seen the averages.
    again = model.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(history.history["val_loss"][0], again, rtol=1e-5)


def dropout_differs_between_ranks():
    model = keras.Sequential([keras.Input((4,)), layers.Dropout(0.5), layers.Dense(1)])
    hfdt.distribute(model, keras.optimizers.SGD(0.0), "mse")
    model.fit(X, Y, batch_size=16, verbose=0)
    drawn = model.layers[0](np.ones((1, 64), "float32"), training=True).numpy()
    every = hfdt.allgather(drawn).numpy()
    assert not np.array_equal(every[0], every[1])


def history_is_the_same_on_all_ranks():
    model = hfdt.distribute(linear(), "adam", "mse", metrics=["mae"])
    history = model.fit(X, Y, batch_size=16, epochs=2, verbose=0, validation_split=0.2)
    assert set(history.history) == {"loss", "mae", "val_loss", "val_mae"}
    for values in history.history.values():
        same_on_all(values)


def skipped_in_one_rank_only_is_skipped_by_all():
    x = X.copy()
    x[60] = np.nan  # of the last batch's second part
    model = hfdt.distribute(linear(), "sgd", "mse", nonfinite="skip")
    model.fit(x, Y, batch_size=16, shuffle=False, verbose=0)
    weights = same_on_all(model.get_weights()[0])
    assert np.all(np.isfinite(weights))
    assert int(model.optimizer.iterations) == 3


if __name__ == "__main__":
    for check in sys.argv[1:]:
        globals()[check]()
