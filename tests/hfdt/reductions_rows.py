"""Losses and metrics that reduce a batch themselves; the number of ranks is no matter.

A table like that of ``equality_rows``, of programs that know nothing of ranks::

    python reductions_rows.py OUT.npz [NAME ...]
"""

from __future__ import annotations

import random
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tests.hfdt.equality_rows import data, main, outcome

ROWS = {}
BATCH = 16


def row(function):
    """Registers a program under its name."""
    ROWS[function.__name__] = function
    return function


def targets(samples=101):
    """Six batches of 16, and one of 5; numbers to predict, unlike from row to row."""
    x, _ = data(samples)
    return x, np.tanh(np.cumsum(x[:, :4], 1)).astype("float32")


def network(units=4, **last):
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(12, activation="tanh"),
            layers.Dense(units, **last),
        ]
    )


def fitted(loss, rate=0.1, model=None, samples=101, **options):
    model = model or network()
    model.compile(keras.optimizers.SGD(rate), loss, **options.pop("compiled", {}))
    x, y = targets(samples)
    options = {"batch_size": BATCH, "epochs": 2, "verbose": 0, **options}
    return outcome(model, model.fit(x, y, **options))


def over_constant(y, p):
    return ops.sum(ops.mean(ops.square(y - p), -1)) / BATCH


def over_size(y, p):
    errors = ops.mean(ops.square(y - p), -1)
    return ops.sum(errors) / ops.cast(ops.shape(y)[0], "float32")


def dice(y, p):
    y, p = ops.abs(y), ops.sigmoid(p)
    return 1 - 2 * ops.sum(y * p) / (ops.sum(y) + ops.sum(p))


def in_batch_negatives(y, p):
    """One value a sample, of which each looks at all others."""
    alike = ops.matmul(p, ops.transpose(y))
    own = ops.arange(ops.shape(p)[0])
    return keras.losses.sparse_categorical_crossentropy(own, alike, from_logits=True)


@row
def sum_over_a_constant():
    return fitted(over_constant, validation_data=targets(37))


@row
def sum_over_a_constant_in_a_class():
    class Own(keras.losses.Loss):
        def call(self, y, p):
            return over_constant(y, p)

    return fitted(Own())


@row
def sum_over_the_axis_of_the_batch():
    return fitted(lambda y, p: ops.sum(ops.square(y - p), axis=0), rate=0.005)


@row
def average_loss_of_tensorflow():
    return fitted(
        lambda y, p: tf.nn.compute_average_loss(
            tf.reduce_mean((y - p) ** 2, -1), global_batch_size=BATCH
        )
    )


@row
def sum_over_the_size():
    return fitted(over_size)


@row
def sum_inside_by_a_loss_of_keras():
    square = keras.losses.MeanSquaredError(reduction="sum")
    return fitted(lambda y, p: square(y, p) / BATCH)


@row
def scalar_under_reduction_sum():
    class Own(keras.losses.Loss):
        def call(self, y, p):
            return over_size(y, p)

    return fitted(Own(reduction="sum"))


@row
def sum_with_sample_weights():
    weight = np.random.default_rng(1).uniform(0, 2, 101).astype("float32")
    return fitted(over_constant, sample_weight=weight)


@row
def dice_of_the_batch():
    return fitted(dice, validation_data=targets(37))


@row
def dice_of_keras():
    return fitted(keras.losses.Dice(), model=network(activation="sigmoid"))


@row
def dice_compiled_by_xla():
    return fitted(dice, compiled={"jit_compile": True})


@row
def dice_run_eagerly():
    return fitted(dice, epochs=1, compiled={"run_eagerly": True})


@row
def dice_of_fewer_samples_than_ranks():
    return fitted(dice, samples=65)


@row
def contrast_of_samples():
    return fitted(in_batch_negatives)


@row
def mean_over_what_is_no_padding():
    def masked(y, p):
        valid = ops.cast(y > 0, "float32")
        return ops.sum(ops.square(y - p) * valid) / ops.sum(valid)

    return fitted(masked)


@row
def vector_of_predictions():
    """Keras's loss takes the mean over what is last, which is the batch here."""
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(1), layers.Lambda(lambda p: p[:, 0])]
    )
    model.compile(keras.optimizers.SGD(0.1), "cosine_similarity")
    x, y = targets()
    return outcome(model, model.fit(x, y[:, 0], batch_size=BATCH, verbose=0))


@row
def several_outputs():
    inputs = keras.Input((8,))
    hidden = layers.Dense(8, activation="tanh")(inputs)
    heads = {n: layers.Dense(4, name=n)(hidden) for n in ("mean", "sum", "whole")}
    model = keras.Model(inputs, heads)
    model.compile(
        keras.optimizers.SGD(0.1),
        {"mean": "mse", "sum": over_constant, "whole": dice},
        loss_weights={"mean": 1.0, "sum": 0.5, "whole": 2.0},
    )
    x, y = targets()
    y = {"mean": y, "sum": -y, "whole": y}
    return outcome(model, model.fit(x, y, batch_size=BATCH, epochs=2, verbose=0))


@row
def several_steps_an_execution():
    return fitted(over_constant, compiled={"steps_per_execution": 3})


@row
def batches_of_a_generator():
    def pairs():
        x, y = targets()
        while True:
            for i in range(0, 101, BATCH):
                yield x[i : i + BATCH], y[i : i + BATCH]

    model = network()
    model.compile(keras.optimizers.SGD(0.1), over_constant)
    history = model.fit(pairs(), epochs=2, steps_per_epoch=5, verbose=0)
    return outcome(model, history)


@row
def on_batch():
    model = network()
    model.compile(keras.optimizers.SGD(0.1), over_constant, metrics=[Hits()])
    x, y = targets()
    seen = [model.train_on_batch(x[i : i + 21], y[i : i + 21]) for i in (0, 21, 42)]
    seen.append(model.test_on_batch(x[:5], y[:5]))
    return {**outcome(model), "seen": np.asarray(seen, float)}


@row
def what_is_drawn_later():
    """What was tried before the first step has drawn no random numbers."""
    fitted(over_constant, epochs=1)
    drawn = [
        tf.random.normal((2,)),
        keras.random.normal((2,)),
        np.random.normal(size=2),
    ]
    after = fitted("mse", epochs=1)
    return {**after, "drawn": np.stack(drawn), "python": np.asarray(random.random())}


@row
def sum_that_a_layer_adds():
    class Spread(layers.Layer):
        def call(self, x):
            self.add_loss(0.001 * ops.sum(ops.square(x)))
            self.add_loss(0.1 * ops.mean(ops.abs(x)))
            return x

    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(6), Spread(), layers.Dense(4)]
    )
    return fitted("mse", model=model)


class Own(keras.Model):
    """A step by hand, whose loss goes to trackers, one value a batch.

    Args:
        loss_of: Takes targets and predictions.
    """

    def __init__(self, loss_of):
        super().__init__()
        self.dense, self.loss_of = layers.Dense(4), loss_of
        self.mean = keras.metrics.Mean(name="loss")
        self.total = keras.metrics.Sum(name="total")
        self.error = keras.metrics.MeanAbsoluteError(name="error")

    @property
    def metrics(self):
        return [self.mean, self.total, self.error]

    def call(self, x):
        return self.dense(x)

    def _note(self, y, predicted, loss):
        self.mean.update_state(loss)
        self.total.update_state(loss)
        self.error.update_state(y, predicted)
        return {m.name: m.result() for m in self.metrics}

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            predicted = self(x, training=True)
            loss = self.loss_of(y, predicted)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return {**self._note(y, predicted, loss), "raw": loss}

    def test_step(self, data):
        x, y = data
        predicted = self(x, training=False)
        return self._note(y, predicted, self.loss_of(y, predicted))


def own_fitted(loss_of, samples=101):
    model = Own(loss_of)
    model.compile(keras.optimizers.SGD(0.1))
    x, y = targets(samples)
    history = model.fit(
        x, y, batch_size=BATCH, epochs=2, verbose=0, validation_data=targets(33)
    )
    evaluated = model.evaluate(x, y, batch_size=BATCH, verbose=0, return_dict=True)
    return {
        **outcome(model, history),
        **{f"e_{name}": np.asarray(value) for name, value in evaluated.items()},
    }


@row
def own_step_of_a_mean():
    return own_fitted(lambda y, p: tf.reduce_mean((y - p) ** 2))


@row
def own_step_of_a_sum():
    return own_fitted(over_constant)


@row
def own_step_of_a_sum_last_of_one():
    return own_fitted(over_constant, samples=65)


@row
def own_step_of_dice_of_keras():
    whole = keras.losses.Dice()
    return own_fitted(lambda y, p: whole(tf.abs(y), tf.sigmoid(p)))


@row
def own_step_that_gathers():
    """As the line says that names such a step; on one process there is no hfdt."""

    def loss_of(y, p):
        gathered = getattr(sys.modules.get("hfdt"), "allgather", tf.identity)
        return tf.reduce_mean(in_batch_negatives(gathered(y), gathered(p)))

    return own_fitted(loss_of)


@row
def own_step_that_gathers_what_its_samples_are_compared_with():
    def loss_of(y, p):
        gathered = getattr(sys.modules.get("hfdt"), "allgather", tf.identity)
        distances = tf.reduce_sum(
            (p[:, None] - gathered(tf.stop_gradient(0 * y) + p)) ** 2, -1
        )
        return tf.reduce_mean(
            tf.reduce_mean(tf.exp(-distances), 1) + tf.reduce_sum((y - p) ** 2, 1)
        )

    return own_fitted(loss_of)


@row
def own_compute_loss():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4)
            self.tracker = keras.metrics.Mean(name="loss")

        @property
        def metrics(self):
            return [self.tracker]

        def call(self, x):
            return self.dense(x)

        def compute_loss(
            self, x=None, y=None, y_pred=None, sample_weight=None, training=True
        ):
            loss = ops.mean((y_pred - y) ** 2)
            self.tracker.update_state(loss)
            return loss

    return fitted(None, model=Model(), validation_data=targets(33))


class State(keras.metrics.Metric):
    """A metric with one variable.

    Args:
        name: Its name.
        begin: The variable's first value.
    """

    begin, dtype_of_state = 0.0, "float32"

    def __init__(self, name):
        super().__init__(name=name)
        begin = keras.initializers.Constant(self.begin)
        self.state = self.add_variable((), begin, self.dtype_of_state, name="state")

    def reset_state(self):
        self.state.assign(self.begin)

    def result(self):
        return self.state + 0


class Largest(State):
    def update_state(self, y_true, y_pred, sample_weight=None):
        error = ops.max(ops.abs(y_true - y_pred))
        self.state.assign(ops.maximum(self.state, error))


class Smallest(State):
    begin = np.inf

    def update_state(self, y_true, y_pred, sample_weight=None):
        error = ops.min(ops.abs(y_true - y_pred))
        self.state.assign(ops.minimum(self.state, error))


class Count(State):
    begin, dtype_of_state = 0, "int32"

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.state.assign_add(ops.shape(y_pred)[0])


class Hits(keras.metrics.Metric):
    """The state itself is the result, as Keras's documentation shows it."""

    def __init__(self):
        super().__init__(name="hits")
        self.hits = self.add_weight((), "zeros", name="hits")

    def update_state(self, y_true, y_pred, sample_weight=None):
        right = ops.cast(y_true * y_pred > 0, "float32")
        self.hits.assign(self.hits + ops.sum(right))

    def result(self):
        return self.hits


class Table(keras.metrics.Metric):
    """A matrix that is summed beside a vector of maxima; the result is a dict."""

    def __init__(self):
        super().__init__(name="table")
        self.sums = self.add_weight((4, 4), "zeros", name="sums")
        self.peaks = self.add_weight((4,), "zeros", name="peaks")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.sums.assign_add(ops.matmul(ops.transpose(y_true), y_pred))
        self.peaks.assign(ops.maximum(self.peaks, ops.max(ops.abs(y_pred), 0)))

    def result(self):
        return {"trace": ops.trace(self.sums), "peak": ops.mean(self.peaks)}


def metrics():
    def scalar(y, p):
        return ops.mean(ops.abs(y - p))

    own = [Largest("largest"), Smallest("smallest"), Count("count"), Hits(), Table()]
    return [*own, scalar]


@row
def metrics_of_ones_own():
    """In the History, in mid-epoch, in ``evaluate`` and on a batch."""
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append([float(logs[k]) for k in ("largest", "hits", "peak", "loss")])

    model = network()
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=metrics())
    x, y = targets()
    history = model.fit(
        x, y, batch_size=BATCH, epochs=2, verbose=0, callbacks=[Watch()]
    )
    evaluated = model.evaluate(
        x[:37], y[:37], batch_size=BATCH, verbose=0, return_dict=True
    )
    return {
        **outcome(model, history),
        "seen": np.asarray(seen),
        **{f"e_{name}": np.asarray(value) for name, value in evaluated.items()},
    }


@row
def metric_that_is_only_evaluated():
    model = network()
    model.compile(keras.optimizers.SGD(0.1), over_constant, metrics=metrics())
    x, y = targets()
    found = model.evaluate(x, y, batch_size=BATCH, verbose=0, return_dict=True)
    return {name: np.asarray(value) for name, value in found.items()}


@row
def metrics_without_training():
    """Whoever takes which batch in which order, these are of all of them."""
    model = network()
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=metrics()[:-1])
    x, y = targets()
    history = model.fit(x, y, batch_size=BATCH, epochs=2, verbose=0)
    return outcome(model, history)


# Not in the table: these say what differs.


def contrastive_step():
    """A step by hand that compares the samples of a batch."""
    own_fitted(lambda y, p: tf.reduce_mean(in_batch_negatives(y, p)))


def covariance_of_a_layer():
    class Spread(layers.Layer):
        def call(self, x):
            self.add_loss(ops.sum(ops.square(ops.matmul(ops.transpose(x), x))) * 1e-4)
            return x

    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(6), Spread(), layers.Dense(4)]
    )
    fitted("mse", model=model, epochs=1)


def metric_of_the_last_batch():
    class Last(State):
        def update_state(self, y_true, y_pred, sample_weight=None):
            self.state.assign(ops.mean(ops.square(y_true)))

    fitted("mse", epochs=1, compiled={"metrics": [Last("last")]})


def dice_said():
    fitted(dice, epochs=1)


def layers_that_draw_or_look_across():
    """Known to differ, and nothing that is wrong with a loss."""

    class Quiet(keras.Model):
        def __init__(self):
            super().__init__(name="quiet")
            self.parts = [
                layers.Dense(8),
                layers.BatchNormalization(),
                layers.Dropout(0.5),
                layers.Dense(4),
            ]

        def call(self, x, training=None):
            for layer in self.parts:
                x = layer(x, training=training) if layer.name[:2] != "de" else layer(x)
            return x

        def train_step(self, data):
            x, y = data
            x += 0.1 * tf.random.normal(tf.shape(x))
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
            return {"loss": loss}

    fitted(None, model=Quiet(), epochs=1)


SAYING = (
    layers_that_draw_or_look_across,
    contrastive_step,
    covariance_of_a_layer,
    metric_of_the_last_batch,
    dice_said,
)


if __name__ == "__main__":
    named = {function.__name__: function for function in SAYING}
    for name in [n for n in sys.argv[2:] if n in named]:
        keras.utils.set_random_seed(7)
        named[name]()
    main(ROWS, sys.argv[1], [n for n in sys.argv[2:] if n not in named])
