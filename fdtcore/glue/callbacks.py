"""Callbacks that act on one rank only, and the one that keeps ranks in step."""

from __future__ import annotations

import json
from collections.abc import Sequence

import keras
from keras.callbacks import CallbackList

from fdtcore.engine import Collectives
from fdtcore.glue import binding, keras_internals, metrics, saving
from fdtcore.glue.state import InitialState
from fdtcore.keras_types import Callback, Callbacks, Logs
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
        collectives: Those of the ranks.
        initial_state: Gives all ranks that state.
    """

    def __init__(self, collectives: Collectives, initial_state: InitialState):
        super().__init__()
        self._collectives, self._initial_state = collectives, initial_state

    def on_train_begin(self, logs: Logs = None) -> None:
        del logs
        optimizer = self.model.optimizer
        begin = keras_internals.initial_epoch(self.model)
        mine = [begin, optimizer is not None and optimizer.built]
        epoch, is_built = json.loads(saving.meet(self._collectives, json.dumps(mine)))
        keras_internals.set_initial_epoch(self.model, epoch)
        if is_built and not optimizer.built:  # restored on rank 0
            optimizer.build(self.model.trainable_variables)
        if self.model.built:
            self._initial_state.share(self.model)


class Averages(keras.callbacks.Callback):
    """Averages moving statistics before callbacks behind it use or save them.

    Args:
        collectives: Those of the ranks.
        each_batch: Whether a callback saves in the middle of an epoch.
    """

    def __init__(self, collectives: Collectives, *, each_batch: bool):
        super().__init__()
        self._collectives, self.each_batch = collectives, each_batch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        del batch, logs
        if self.each_batch:
            self._collectives.average(metrics.moving_statistics(self.model))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        del epoch, logs
        self._collectives.average(metrics.moving_statistics(self.model))


def distributed(
    callbacks: Callbacks,
    collectives: Collectives,
    initial_state: InitialState,
    own: Sequence[Callback],
) -> Callbacks:
    """Returns the user's callbacks as they run on this rank.

    Args:
        callbacks: What was given to ``fit``: None, a callback, a list, or a
            ``CallbackList``, which is changed in place.
        collectives: Those of the ranks.
        initial_state: Gives all ranks what rank 0 begins with.
        own: Callbacks of the framework, which come before the user's.
    """

    def acting(given: list[Callback]) -> list[Callback]:
        first, kept = _acting(given, collectives)
        last = KeepInStep(collectives, initial_state)
        return [first, *own, *kept, last]

    if isinstance(callbacks, CallbackList):
        callbacks.callbacks[:] = acting(callbacks.callbacks)
        for callback in callbacks.callbacks:
            if callback.model is None:
                callback.set_model(callbacks.model)
        return callbacks
    return acting(listed(callbacks))


def listed(callbacks: Callbacks) -> list[Callback]:
    """Returns the callbacks that ``fit`` was given, in whatever form, as a list."""
    if isinstance(callbacks, CallbackList):
        return list(callbacks.callbacks)
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


def _acting(
    callbacks: list[Callback], collectives: Collectives
) -> tuple[Averages, list[Callback]]:
    """Returns what averages for the user's callbacks, and those that run here."""
    # Asked of all the user's: every rank must come to the same answer.
    frequencies = [getattr(c, "save_freq", "epoch") for c in callbacks]
    first = Averages(collectives, each_batch=any(f != "epoch" for f in frequencies))
    writers = [c for c in callbacks if _only_writes(c)]
    if collectives.process.rank:
        callbacks = [c for c in callbacks if c not in writers]
    else:
        for callback in writers:
            act_alone(callback)
    return first, callbacks


def _only_writes(callback: Callback) -> bool:
    # A script's own kind of one may do more; what it writes is written once anyway.
    bound = binding.current()
    if bound is not None and bound.everything and not patches.is_released():
        return type(callback) in _WRITERS
    return isinstance(callback, _WRITERS)


def act_alone(callback: Callback) -> None:
    """Keeps a callback from waiting for the other ranks, which do not run it now."""
    for name in dir(callback):
        if name.startswith("on_") and name not in vars(callback):
            method = getattr(callback, name)
            if not keras_internals.is_default(method):
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


_CHECKPOINTS = (keras.callbacks.ModelCheckpoint, keras_internals.OrbaxCheckpoint)


def read_batches(callbacks: Callbacks) -> bool:
    """Whether a callback may act on the logs of a batch."""
    for callback in listed(callbacks):
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
