"""Faults of Keras itself, in one process: what docs/beside-keras.md says is still so.

Each test runs plain Keras and asserts the wrong value. One that fails tells that Keras
has changed: the page, and what we do about it, can then be mended.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

ONES = np.ones((4, 1), "float32")


def make(optimizer="sgd", **compiled):
    keras.utils.set_random_seed(1)
    layers = [keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]
    model = keras.Sequential(layers)
    model.compile(optimizer, "mse", **compiled)
    return model


@pytest.mark.parametrize(("is_built", "weight"), [(False, -0.01), (True, 4.99)])
def test_schedule_free_adamw_forgets_the_weights_that_fit_begins_with(is_built, weight):
    optimizer = keras.optimizers.ScheduleFreeAdamW(0.01)
    model = make(optimizer)
    model.set_weights([np.full((1, 1), 5.0)])
    if is_built:  # outside fit, the way round it
        optimizer.build(model.trainable_variables)
    model.fit(ONES, 4 * ONES, batch_size=4, verbose=0)
    assert model.get_weights()[0].item() == pytest.approx(weight)


def iterations(lengths):
    """Iterations after each epoch over data that has that many batches in it."""
    left = iter(lengths)

    def batches():
        for _ in range(next(left)):
            yield ONES, ONES

    kinds = (tf.TensorSpec((4, 1)), tf.TensorSpec((4, 1)))
    data = tf.data.Dataset.from_generator(batches, output_signature=kinds)
    model, found = make(), []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: found.append(int(model.optimizer.iterations))
    )
    # Data that ends early ends the fit where Keras does not know its length.
    model.fit(data, epochs=len(lengths), verbose=0, callbacks=[note])
    return found


def test_data_of_unknown_length_is_capped_and_counts_an_iteration_too_many():
    assert iterations([3, 3]) == [4, 8]  # 3 and 6 batches
    assert iterations([3, 9]) == [4, 8]  # 3 and 4: the other 5 are left out


def test_a_second_interruption_of_backup_and_restore_begins_at_epoch_0(tmp_path):
    class Interruption(Exception):
        pass

    def fit(interrupted):
        epochs = []

        def interrupt(batch, logs):
            if interrupted and (epochs[-1], batch) == (2, 5):
                raise Interruption

        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"), save_freq=2)
        watch = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: epochs.append(epoch),
            on_train_batch_end=interrupt,
        )
        eight = np.ones((8, 1), "float32")
        try:
            make().fit(
                eight,
                eight,
                batch_size=1,
                epochs=3,
                verbose=0,
                callbacks=[backup, watch],
            )
        except Interruption:
            pass
        return epochs

    # Right would be [2] the last time, too.
    assert [fit(True), fit(True), fit(False)] == [[0, 1, 2], [2], [0, 1, 2]]


def test_shuffles_of_this_version_differ_between_epochs():
    """Those of the nightly do not; this fails when a release has them."""
    seen = []

    class Data(keras.utils.PyDataset):
        def __len__(self):
            return 6

        def __getitem__(self, index):
            seen.append(index)
            return ONES, ONES

    orders = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(Data(), epochs=2, verbose=0, shuffle=True)
        orders += [seen[-12:-6], seen[-6:]]
    assert len({tuple(order) for order in orders}) == 4


def test_a_model_of_an_orbax_checkpoint_is_untrained(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    folder = str(tmp_path / "orbax")
    model = make("adam")
    saves = keras.callbacks.OrbaxCheckpoint(folder)
    model.fit(ONES, ONES, verbose=0, callbacks=[saves])
    loaded = keras.saving.load_model(folder)
    assert not np.array_equal(loaded.get_weights(), model.get_weights())
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations)


def test_weights_that_a_trace_makes_read_as_empty_arrays():
    """TensorFlow 2.21.0 (findings/variable_read_in_trace.sh): no error says so."""
    shapes = []

    class Model(keras.Sequential):
        def train_step(self, data):
            logs = super().train_step(data)
            with tf.init_scope():
                shapes.append([weight.shape for weight in self.get_weights()])
            return logs

    model = Model([keras.layers.Dense(3)])  # without an Input: fit builds it
    model.compile("sgd", "mse")
    model.fit(ONES, ONES, verbose=0)
    assert shapes[0] == [(0,), (0,)]
    assert [weight.shape for weight in model.get_weights()] == [(1, 3), (3,)]
