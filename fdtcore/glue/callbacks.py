"""Callbacks that act once, and the one that keeps ranks in step."""

from __future__ import annotations

from typing import Any

import keras
from keras.src.callbacks.callback_list import CallbackList

from fdtcore.engine import Engine
from fdtcore.glue import metrics, state

# They only write. BackupAndRestore also reads, but rank 0's state reaches every rank.
_WRITERS = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)
# Of Keras's own, those that read nothing from the logs of a batch that changes
# training; they get this rank's.
_BLIND_TO_BATCHES = (
    *_WRITERS,
    keras.callbacks.EarlyStopping,
    keras.callbacks.History,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.SwapEMAWeights,
)


class KeepInStep(keras.callbacks.Callback):
    """Gives every rank rank 0's state before training and averages what drifts.

    Stands behind the user's callbacks: what they restore on rank 0 is what all get.

    Args:
        engine: The engine.
        inner: Callbacks that must see averaged state at the end of an epoch.
    """

    def __init__(self, engine: Engine):
        super().__init__()
        self.engine = engine

    def on_train_begin(self, logs: Any = None) -> None:
        del logs
        epoch = self.engine.broadcast_text(str(self.model._initial_epoch or 0))
        self.model._initial_epoch = int(epoch) or None
        if self.model.built:
            state.agree(self.engine, self.model)


class Averages(keras.callbacks.Callback):
    """Averages moving statistics where an epoch ends, before others use them.

    Stands in front of the user's callbacks.
    """

    def __init__(self, engine: Engine):
        super().__init__()
        self.engine = engine

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        del epoch, logs
        self.engine.average(metrics.moving_statistics(self.model))


def distributed(callbacks: Any, engine: Engine) -> Any:
    """Returns the user's callbacks as they run on this rank.

    Args:
        callbacks: What was given to ``fit``: None, a callback, a list, or a
            ``CallbackList``, which is changed in place.
        engine: The engine.
    """
    if isinstance(callbacks, CallbackList):
        callbacks.callbacks[:] = _acting(callbacks.callbacks, engine)
        for callback in callbacks.callbacks:
            if callback.model is None:
                callback.set_model(callbacks.model)
        return callbacks
    given = [] if callbacks is None else callbacks
    if not isinstance(given, list | tuple):
        given = [given]
    return _acting(list(given), engine)


def _acting(callbacks: list[Any], engine: Engine) -> list[Any]:
    if engine.process.rank:
        callbacks = [c for c in callbacks if not isinstance(c, _WRITERS)]
    return [Averages(engine), *callbacks, KeepInStep(engine)]


def read_batches(callbacks: Any) -> bool:
    """Whether a callback may act on the logs of a batch."""
    for callback in getattr(callbacks, "callbacks", callbacks):
        if type(callback) in _BLIND_TO_BATCHES:
            continue
        if type(callback) is keras.callbacks.ModelCheckpoint:
            if callback.save_freq != "epoch":
                return True
            continue
        for name in ("on_train_batch_end", "on_batch_end"):
            method = getattr(type(callback), name)
            if method is not getattr(keras.callbacks.Callback, name):
                return True
    return False
