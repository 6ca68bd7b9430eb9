"""Which callbacks make all workers wait for what worker 0 validates."""

from __future__ import annotations

import keras
import pytest

from nfdt.glue.callbacks import reads_epochs


class Own(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        pass


class OfBatches(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


class OfTests(keras.callbacks.Callback):
    def on_test_end(self, logs=None):
        pass


class OwnStopping(keras.callbacks.EarlyStopping):
    def on_epoch_end(self, epoch, logs=None):
        pass


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, ""),
        ([OfBatches(), keras.callbacks.EarlyStopping()], ""),
        ([OwnStopping(), keras.callbacks.History()], ""),  # on worker 0 alone
        ([keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)], ""),
        ([keras.callbacks.LambdaCallback(on_epoch_begin=print)], ""),
        ([keras.callbacks.LambdaCallback(on_epoch_end=print)], "LambdaCallback"),
        ([OfBatches(), Own()], "Own"),
        (Own(), "Own"),
        (OfTests(), "OfTests"),
        (keras.callbacks.CallbackList([Own()]), "Own"),
    ],
)
def test_a_callback_of_the_users_that_looks_at_ends_of_epochs(given, name):
    assert reads_epochs(given) == name
