"""Callbacks that act once, and the one that keeps ranks in step."""

from __future__ import annotations

import json
from typing import Any

import keras
from keras.src.callbacks.callback_list import CallbackList
from keras.src.utils.python_utils import is_default

from fdtcore.engine import Engine
from fdtcore.glue import binding, metrics, saving, state
from fdtcore.shadow_files import patches

# They only write. BackupAndRestore also reads, but rank 0's state reaches every rank.
_WRITERS = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)


class KeepInStep(keras.callbacks.Callback):
    """Gives every rank rank 0's state before training and averages what drifts.

    Stands behind the user's callbacks: what they restore on rank 0 is what all get.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine):
        super().__init__()
        self.engine = engine

    def on_train_begin(self, logs: Any = None) -> None:
        del logs
        optimizer = self.model.optimizer
        mine = [self.model._initial_epoch, optimizer is not None and optimizer.built]
        epoch, is_built = json.loads(saving.meet(self.engine, json.dumps(mine)))
        self.model._initial_epoch = epoch
        if is_built and not optimizer.built:  # restored on rank 0
            optimizer.build(self.model.trainable_variables)
        if self.model.built:
            state.agree(self.engine, self.model)


class Averages(keras.callbacks.Callback):
    """Averages moving statistics before callbacks behind it use or save them.

    Args:
        engine: The engine.
        each_batch: Whether a callback saves in the middle of an epoch.
    """

    def __init__(self, engine: Engine, *, each_batch: bool):
        super().__init__()
        self.engine, self.each_batch = engine, each_batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        del batch, logs
        if self.each_batch:
            self.engine.average(metrics.moving_statistics(self.model))

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
    # Asked of all the user's: every rank must come to the same answer.
    frequencies = [getattr(c, "save_freq", "epoch") for c in callbacks]
    first = Averages(engine, each_batch=any(f != "epoch" for f in frequencies))
    writers = [c for c in callbacks if _only_writes(c)]
    if engine.process.rank:
        callbacks = [c for c in callbacks if c not in writers]
    else:
        for callback in writers:
            act_alone(callback)
    return [first, *engine.callbacks(), *callbacks, KeepInStep(engine)]


def _only_writes(callback: Any) -> bool:
    # A script's own kind of one may do more; what it writes is written once anyway.
    bound = binding.current()
    if bound is not None and bound.everything and not patches.is_released():
        return type(callback) in _WRITERS
    return isinstance(callback, _WRITERS)


def act_alone(callback: Any) -> None:
    """Keeps a callback from waiting for the other ranks, which do not run it now."""
    for name in dir(callback):
        if name.startswith("on_") and name not in vars(callback):
            method = getattr(callback, name)
            if not is_default(method):
                setattr(callback, name, saving.alone()(method))


# Of Keras's own, those that read nothing from the logs of a batch that changes
# training; they get this rank's.
_BLIND_TO_BATCHES = (
    *_WRITERS,
    Averages,
    KeepInStep,
    keras.callbacks.EarlyStopping,
    keras.callbacks.History,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.SwapEMAWeights,
)


_CHECKPOINTS = (keras.callbacks.ModelCheckpoint, keras.callbacks.OrbaxCheckpoint)


def read_batches(callbacks: Any) -> bool:
    """Whether a callback may act on the logs of a batch."""
    for callback in getattr(callbacks, "callbacks", callbacks):
        if type(callback) in _BLIND_TO_BATCHES:
            continue
        if type(callback) in _CHECKPOINTS:
            if callback.save_freq != "epoch":
                return True
            continue
        for name in ("on_train_batch_end", "on_batch_end"):
            method = getattr(type(callback), name)
            if method is not getattr(keras.callbacks.Callback, name):
                return True
    return False
