"""Single-machine programs whose numbers must not depend on the number of ranks.

Each row is a function that trains and returns arrays; nothing in it knows of ranks.
Run as a script it writes what all rows return::

    python equality_rows.py OUT.npz [NAME ...]
"""

from __future__ import annotations

import random
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.hfdt.own_optimizers import Lookahead, Parted, Signed

ROWS = {}


def row(function):
    """Registers a program under its name."""
    ROWS[function.__name__] = function
    return function


def data(samples=101, features=8, classes=4, seed=0):
    """Random samples; 101 leaves parts that are unequal and, at times, empty."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, features)).astype("float32")
    return x, rng.integers(0, classes, samples)


def small(**dense):
    """A model without layers that look at the batch."""
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(16, activation="relu", **dense),
            layers.Dense(4),
        ]
    )


def cross_entropy(**options):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **options)


def outcome(model, history=None):
    """What is compared: final weights and every value of the history."""
    values = {f"w{i}": w for i, w in enumerate(model.get_weights())}
    for name, series in (history.history if history else {}).items():
        values[name] = np.asarray(series)
    return values


def fitted(optimizer, model=None, compiled=None, **fit):
    """Fits a model; without validation, which would have to be traced in each row."""
    model = model or small()
    model.compile(optimizer, cross_entropy(), metrics=["accuracy"], **(compiled or {}))
    x, y = data()
    fit = {"batch_size": 16, "epochs": 2, "verbose": 0, **fit}
    return outcome(model, model.fit(x, y, **fit))


def validated(optimizer, **options):
    """Fits a model, and validates it on samples that are held back."""
    return fitted(optimizer, validation_split=0.2, **options)


@row
def sgd_momentum():
    return fitted(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True))


@row
def adam():
    return validated("adam")


@row
def adamw_weight_decay():
    return fitted(keras.optimizers.AdamW(0.01, weight_decay=0.1))


@row
def clip_norm():
    return fitted(keras.optimizers.SGD(0.5, clipnorm=0.05))


@row
def clip_global_norm():
    return fitted(keras.optimizers.SGD(0.5, global_clipnorm=0.1))


@row
def clip_value():
    return fitted(keras.optimizers.SGD(0.5, clipvalue=0.01))


@row
def moving_average():
    return fitted(
        keras.optimizers.Adam(
            0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3
        )
    )


@row
def swap_ema():
    return validated(
        keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
        callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
    )


@row
def sample_weight():
    weight = np.random.default_rng(1).uniform(0, 2, 101).astype("float32")
    return validated(
        keras.optimizers.SGD(0.1),
        sample_weight=weight,
        compiled={"weighted_metrics": ["accuracy"]},
    )


@row
def class_weight():
    return validated(
        keras.optimizers.SGD(0.1), class_weight={0: 1.0, 1: 0.5, 2: 3.0, 3: 1.0}
    )


@row
def regularizers():
    return validated(
        keras.optimizers.SGD(0.1),
        model=small(kernel_regularizer="l2", activity_regularizer="l1"),
    )


@row
def schedule():
    decay = keras.optimizers.schedules.ExponentialDecay(0.2, 3, 0.5)
    return fitted(keras.optimizers.SGD(decay, momentum=0.9))


def multi(*others):
    """An optimizer for each layer."""
    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    others = dict(zip([".*/kernel"], others)) or {
        ".*/kernel": keras.optimizers.Adam(0.01, clipnorm=0.5)
    }
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(inner, others))


def counted(optimizer, **options):
    """Fits a model, and looks at how often its optimizers have stepped."""
    result = fitted(optimizer, **options)
    return {**result, "iterations": np.asarray(optimizer.iterations)}


@row
def multi_optimizer():
    return counted(multi())


@row
def multi_optimizer_by_function():
    kept = [keras.optimizers.RMSprop(0.01), keras.optimizers.SGD(0.1)]

    def choose(variable):
        return kept["bias" in variable.path]

    return counted(keras.optimizers.MultiOptimizer(choose))


@row
def multi_optimizer_accumulates():
    return counted(multi(keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)))


@row
def multi_optimizer_scaled():
    optimizer = keras.optimizers.LossScaleOptimizer(multi())
    return counted(optimizer, model=small(dtype="mixed_float16"))


@row
def multi_optimizer_is_saved():
    x, y = data()
    model = small()
    model.compile(multi(), cross_entropy())
    with tempfile.TemporaryDirectory() as folder:
        save = keras.callbacks.ModelCheckpoint(f"{folder}/m.keras")
        model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[save])
        again = keras.models.load_model(f"{folder}/m.keras")
    own = [np.asarray(v) for v in again.optimizer.variables]
    history = again.fit(x, y, batch_size=16, verbose=0)
    return {**outcome(again, history), **{f"o{i}": v for i, v in enumerate(own)}}


@row
def own_wrapper():
    """An ``apply`` that looks at the whole gradient, and others in a dictionary."""
    inner = {"weights": keras.optimizers.Adam(0.01), "biases": "sgd"}
    inner["biases"] = keras.optimizers.SGD(0.1, momentum=0.9)
    return counted(Parted(inner))


@row
def own_wrapper_writes_weights():
    return counted(Lookahead(keras.optimizers.Adam(0.01)))


@row
def own_apply():
    return counted(Signed(0.01))


@row
def float8():
    model = small(dtype="float8_from_float32")
    return fitted(keras.optimizers.SGD(0.05, clipnorm=0.1), model=model)


@row
def float8_accumulates():
    model = small(dtype="float8_from_float32")
    return fitted(keras.optimizers.SGD(0.1, gradient_accumulation_steps=3), model=model)


@row
def accumulation():
    return fitted(keras.optimizers.Adam(0.01, gradient_accumulation_steps=3))


@row
def accumulation_sgd():
    return fitted(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))


@row
def last_batch_of_five():
    # 4 * 16 + 5: on more than five ranks, some have none of the last batch.
    x, y = data(69)
    model = small()
    model.compile(keras.optimizers.SGD(0.1), cross_entropy(), metrics=["accuracy"])
    return outcome(model, model.fit(x, y, batch_size=16, epochs=3, verbose=0))


@row
def last_batch_of_one():
    x, y = data(65)
    model = small()
    model.compile(keras.optimizers.SGD(0.1), cross_entropy(), metrics=["accuracy"])
    history = model.fit(
        x, y, batch_size=16, epochs=3, verbose=0, validation_data=data(33, seed=5)
    )
    return outcome(model, history)


@row
def mean_of_an_empty_part():
    """A loss of the user's own that is NaN for no sample."""
    x, y = data(65)
    model = small()
    model.compile(
        keras.optimizers.SGD(0.1),
        lambda y, p: tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(y[:, 0], "int32"), p)
        ),
    )
    return outcome(model, model.fit(x, y[:, None], batch_size=16, epochs=2, verbose=0))


@row
def loss_is_a_sum():
    model = small(kernel_regularizer="l2")
    model.compile(
        keras.optimizers.SGD(0.005),
        cross_entropy(reduction="sum"),
        metrics=["accuracy"],
    )
    x, y = data()
    return outcome(model, model.fit(x, y, batch_size=16, epochs=2, verbose=0))


@row
def loss_is_a_mean_over_weights():
    model = small()
    model.compile(
        keras.optimizers.SGD(0.1), cross_entropy(reduction="mean_with_sample_weight")
    )
    x, y = data()
    weight = np.random.default_rng(1).uniform(0, 2, 101).astype("float32")
    return outcome(
        model, model.fit(x, y, sample_weight=weight, batch_size=16, verbose=0)
    )


@row
def masked_sequence():
    rng = np.random.default_rng(2)
    x = rng.integers(1, 20, (61, 7))
    x[np.arange(7) >= rng.integers(1, 8, 61)[:, None]] = 0
    y = rng.integers(0, 4, (61, 7))
    model = keras.Sequential(
        [layers.Embedding(20, 6, mask_zero=True), layers.GRU(8, return_sequences=True)]
    )
    model.add(layers.Dense(4))
    model.compile(
        keras.optimizers.SGD(0.1), cross_entropy(), weighted_metrics=["accuracy"]
    )
    history = model.fit(
        x, y, batch_size=16, epochs=2, verbose=0, validation_data=(x[:21], y[:21])
    )
    return outcome(model, history)


@row
def embedding_adam():
    """Each id once in a batch: Adam in Keras squares rows before it adds them up."""
    x = np.random.default_rng(3).permutation(101)[:, None]
    y = np.random.default_rng(4).integers(0, 4, 101)
    model = keras.Sequential(
        [keras.Input((1,)), layers.Embedding(101, 6), layers.Flatten(), layers.Dense(4)]
    )
    model.compile(keras.optimizers.Adam(0.05), cross_entropy(), metrics=["accuracy"])
    return outcome(model, model.fit(x, y, batch_size=16, epochs=2, verbose=0))


@row
def embedding_sgd_momentum():
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 30, (101, 5)), rng.integers(0, 4, 101)
    model = keras.Sequential(
        [keras.Input((5,)), layers.Embedding(30, 6), layers.Flatten(), layers.Dense(4)]
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), cross_entropy())
    return outcome(model, model.fit(x, y, batch_size=16, epochs=2, verbose=0))


@row
def shared_layer_two_inputs_two_outputs():
    a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
    shared = layers.Dense(6, activation="tanh")
    joined = layers.concatenate([shared(a), shared(b)])
    model = keras.Model(
        {"a": a, "b": b},
        {
            "c": layers.Dense(4, name="c")(joined),
            "r": layers.Dense(1, name="r")(joined),
        },
    )
    model.compile(
        keras.optimizers.Adam(0.01),
        {"c": cross_entropy(), "r": "mse"},
        loss_weights={"c": 1.0, "r": 0.3},
        metrics={"c": ["accuracy"], "r": ["mae"]},
    )
    (x, y), (z, _) = data(), data(seed=1)
    history = model.fit(
        {"a": x, "b": z},
        {"c": y, "r": x[:, :1]},
        batch_size=16,
        epochs=2,
        verbose=0,
        validation_split=0.2,
    )
    return outcome(model, history)


@row
def steps_per_execution():
    return validated(keras.optimizers.Adam(0.01), compiled={"steps_per_execution": 3})


@row
def jit_compile():
    return validated(keras.optimizers.Adam(0.01), compiled={"jit_compile": True})


@row
def run_eagerly():
    return validated(
        keras.optimizers.Adam(0.01), compiled={"run_eagerly": True}, epochs=1
    )


@row
def unbuilt():
    model = keras.Sequential([layers.Dense(16, activation="relu"), layers.Dense(4)])
    return fitted(keras.optimizers.Adam(0.01), model=model)


@row
def steps_per_epoch():
    return fitted(keras.optimizers.SGD(0.1), epochs=3, steps_per_epoch=3)


@row
def initial_epoch():
    return fitted(keras.optimizers.SGD(0.1), epochs=3, initial_epoch=1)


@row
def unshuffled():
    return fitted(keras.optimizers.SGD(0.1), shuffle=False)


@row
def several_fits():
    x, y = data()
    model = small()
    model.compile(keras.optimizers.Adam(0.01), cross_entropy(), metrics=["accuracy"])
    model.fit(x, y, batch_size=16, verbose=0)
    predicted = model.predict(x, verbose=0)
    evaluated = model.evaluate(x, y, batch_size=10, verbose=0)
    history = model.fit(x, y, batch_size=20, epochs=2, verbose=0)
    return {
        **outcome(model, history),
        "predicted": predicted,
        "evaluated": np.asarray(evaluated),
    }


@row
def on_batch():
    x, y = data()
    model = small()
    model.compile(keras.optimizers.Adam(0.01), cross_entropy(), metrics=["accuracy"])
    logs = [model.train_on_batch(x[i : i + 21], y[i : i + 21]) for i in (0, 21, 42)]
    logs.append(model.test_on_batch(x, y))
    return {**outcome(model), "logs": np.asarray(logs)}


@row
def metrics_of_all_kinds():
    x, y = data()
    model = keras.Sequential([keras.Input((8,)), layers.Dense(1, activation="sigmoid")])
    model.compile(
        keras.optimizers.SGD(0.1),
        "binary_crossentropy",
        metrics=[
            keras.metrics.AUC(),
            keras.metrics.Precision(),
            keras.metrics.Recall(),
            keras.metrics.RootMeanSquaredError(),
            keras.metrics.R2Score(),
            keras.metrics.BinaryIoU(),
            keras.metrics.TruePositives(),
        ],
    )
    history = model.fit(
        x,
        (y > 1).astype("float32")[:, None],
        batch_size=16,
        epochs=2,
        verbose=0,
        validation_split=0.3,
    )
    return outcome(model, history)


@row
def early_stopping_and_plateau():
    stop = keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau(patience=0, factor=0.5, min_delta=0.5)
    optimizer = keras.optimizers.SGD(2.0)
    result = validated(optimizer, epochs=12, callbacks=[stop, plateau])
    return {**result, "rate": np.asarray(float(optimizer.learning_rate))}


@row
def batch_callback_reads_loss():
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"])

    result = fitted(keras.optimizers.SGD(0.1), callbacks=[Watch()])
    return {**result, "seen": np.asarray(seen)}


@row
def mixed_float16():
    """The loss scale must fall on all ranks though one sample alone overflows."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small()
    finally:
        keras.config.set_dtype_policy("float32")
    optimizer = keras.optimizers.SGD(0.05)
    model.compile(optimizer, cross_entropy())
    x, y = data(64)
    x[40] *= 3e4
    model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    scaled = model.optimizer
    return {
        "scale": np.asarray(float(scaled.dynamic_scale)),
        "steps": np.asarray(int(optimizer.iterations)),
        **outcome(model),
    }


def batches(seed=0):
    x, y = data(seed=seed)
    return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(101, seed=4).batch(16)


def fit_on(dataset, optimizer="adam", **fit):
    model = small()
    model.compile(optimizer, cross_entropy(), metrics=["accuracy"])
    return outcome(model, model.fit(dataset, verbose=0, **fit))


@row
def dataset_finite():
    return fit_on(batches(), epochs=2, validation_data=batches(1))


@row
def dataset_infinite():
    return fit_on(
        batches().repeat(),
        epochs=2,
        steps_per_epoch=5,
        validation_data=batches(1).repeat(),
        validation_steps=3,
    )


@row
def dataset_of_unknown_length():
    """SGD: Keras alone counts an iteration too many where the data turns out to end."""
    dataset = batches().filter(lambda x, y: True)
    return fit_on(dataset, keras.optimizers.SGD(0.1), epochs=2)


@row
def step_of_ones_own_on_data_of_unknown_length():
    """Plain Keras runs such a step once more than there are batches, so not on them."""

    class Counting(keras.Sequential):
        def build(self, shape=None):
            super().build(shape)
            self.count = tf.Variable(0.0, trainable=False)

        def train_step(self, data):
            self.count.assign_add(1.0)
            return {**super().train_step(data), "count": self.count.read_value()}

    dataset = tf.data.Dataset.from_tensor_slices(data()).batch(16)
    if "fdtcore" in sys.modules:
        dataset = dataset.filter(lambda x, y: True)
    model = Counting([keras.Input((8,)), layers.Dense(4)])
    model.compile("adam", cross_entropy())
    result = outcome(model, model.fit(dataset, epochs=2, verbose=0))
    return {**result, "steps": model.count.numpy()}


@row
def dataset_unseeded_shuffle():
    x, y = data()
    shuffled = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(101)
    return fit_on(shuffled.batch(16), epochs=2)


@row
def py_dataset():
    class Pairs(keras.utils.PyDataset):
        def __len__(self):
            return 7

        def __getitem__(self, i):
            x, y = data()
            return x[i * 16 : i * 16 + 16], y[i * 16 : i * 16 + 16]

    return fit_on(Pairs(), epochs=2, shuffle=False, validation_data=Pairs())


@row
def py_dataset_workers():
    class Pairs(keras.utils.PyDataset):
        def __len__(self):
            return 7

        def __getitem__(self, i):
            x, y = data()
            return x[i * 16 : i * 16 + 16], y[i * 16 : i * 16 + 16]

    return fit_on(Pairs(workers=2), epochs=2, shuffle=True)


@row
def py_dataset_that_draws():
    """It prefetches, and so draws, while the step of one's own is tried."""

    class Noisy(keras.utils.PyDataset):
        def __len__(self):
            return 7

        def __getitem__(self, i):
            x, y = data()
            time.sleep(0.05)  # as files are read
            noise = random.random()
            return x[i * 16 : i * 16 + 16] + noise, y[i * 16 : i * 16 + 16]

    class Own(keras.Sequential):
        def train_step(self, data):
            return super().train_step(data)

    random.seed(5)
    model = Own([keras.Input((8,)), layers.Dense(4)])
    model.compile(keras.optimizers.SGD(0.1), cross_entropy())
    return outcome(model, model.fit(Noisy(), epochs=3, verbose=0))


@row
def python_generator():
    def pairs():
        x, y = data()
        while True:
            for i in range(0, 101, 16):
                yield x[i : i + 16], y[i : i + 16]

    return fit_on(pairs(), epochs=2, steps_per_epoch=5)


@row
def tensors():
    x, y = data()
    model = small()
    model.compile(keras.optimizers.Adam(0.01), cross_entropy())
    history = model.fit(tf.constant(x), tf.constant(y), batch_size=16, verbose=0)
    return outcome(model, history)


@row
def sparse_tensors():
    x, y = data()
    x[np.abs(x) < 1] = 0
    model = small()
    model.compile(keras.optimizers.Adam(0.01), cross_entropy())
    history = model.fit(tf.sparse.from_dense(x), y, batch_size=16, verbose=0)
    return outcome(model, history)


@row
def own_train_step():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4)
            self.tracker = keras.metrics.Mean(name="mine")

        def call(self, x):
            return self.dense(x)

        @property
        def metrics(self):
            return [self.tracker]

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(y, self(x))
                )
            grads = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(grads, self.trainable_variables)
            self.tracker.update_state(loss, tf.shape(x)[0])
            return {"mine": self.tracker.result(), "raw": loss}

    model = Own()
    model.compile(keras.optimizers.Adam(0.05))
    x, y = data()
    return outcome(model, model.fit(x, y, batch_size=16, epochs=2, verbose=0))


@row
def two_optimizers():
    """The shape of a GAN: two models, two optimizers, one step."""

    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.Dense(8), layers.Dense(8)

        def compile(self, one, two):
            super().compile()
            self.one, self.two = one, two

        def train_step(self, x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.second(self.first(x)) - x) ** 2)
            weights = self.first.trainable_variables
            self.one.apply_gradients(zip(tape.gradient(loss, weights), weights))
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.second(self.first(x)) + x) ** 2)
            weights = self.second.trainable_variables
            self.two.apply_gradients(zip(tape.gradient(loss, weights), weights))
            return {"loss": loss}

    model = Pair()
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.1))
    x, _ = data()
    history = model.fit(x, batch_size=16, epochs=2, verbose=0)
    return outcome(model, history)


@row
def tape_loop_graph():
    return tape_loop(tf.function)


@row
def tape_loop_eager():
    return tape_loop(lambda f: f)


def tape_loop(compiled):
    model, optimizer, loss_of = small(), keras.optimizers.Adam(0.01), cross_entropy()

    @compiled
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))

    for _ in range(2):
        for x, y in batches():
            step(x, y)
    return outcome(model)


@row
def checkpoint_and_restore():
    with tempfile.TemporaryDirectory() as folder:
        best = f"{folder}/best.keras"
        save = keras.callbacks.ModelCheckpoint(best, save_best_only=True)
        first = validated(keras.optimizers.Adam(0.01), callbacks=[save])
        again = keras.models.load_model(best)
        x, y = data()
        history = again.fit(x, y, batch_size=16, verbose=0)
        return {**outcome(again, history), **{f"f{k}": v for k, v in first.items()}}


def main(rows, path, names):
    """Writes what rows of a table return: those named, or all."""
    results = {}
    for name in names or rows:
        keras.utils.set_random_seed(7)
        for key, value in rows[name]().items():
            results[f"{name}/{key}"] = np.asarray(value)
    np.savez(path, **results)


if __name__ == "__main__":
    main(ROWS, sys.argv[1], sys.argv[2:])
