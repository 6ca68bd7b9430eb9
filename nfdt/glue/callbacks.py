"""Which callbacks of a ``fit`` run on which worker.

What watches validation or writes files runs on worker 0, and what it decides reaches
the others through the servers: an early stop, a learning rate, restored weights. Any
other callback runs on every worker, with the logs of the whole job's training; where
one looks at the ends of epochs, all workers wait for worker 0's validation.
"""

from __future__ import annotations

from typing import Any

import keras
from keras.src.callbacks.callback_list import CallbackList
from keras.src.utils.python_utils import is_default

from fdtcore.glue.callbacks import act_alone
from nfdt.glue.understudies import Understudy

_ON_CHIEF = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.EarlyStopping,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.OrbaxCheckpoint,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.SwapEMAWeights,
    keras.callbacks.TensorBoard,
)


class GoOn(keras.callbacks.Callback):
    """Stands last: ends the fit on all workers, or goes on from what they have done.

    Args:
        engine: This worker's engine.
    """

    def __init__(self, engine: Any):
        super().__init__()
        self._engine = engine

    def on_train_begin(self, logs: Any = None) -> None:
        del logs
        self._engine.training.begun(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        del epoch, logs
        training = self._engine.training
        if training.validates_jointly:
            training.agree_on_end(self.model)
        if self.model.stop_training:
            self._engine.epochs.stop()
        elif self._engine.process.rank == 0:
            # The others have trained on while this worker has validated. From here on
            # they wait for it, so that what it pulls is not old when it pushes.
            training.back()
            self._engine.groups.renew(self.model.trainable_variables)


# Of Keras's own, those that read nothing of an epoch.
_BLIND_TO_EPOCHS = (
    keras.callbacks.History,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.TerminateOnNaN,
)
_OF_EPOCHS = ("on_epoch_end", "on_test_begin", "on_test_end", "on_train_end")


def reads_epochs(callbacks: Any) -> str:
    """Returns the first callback that may read validation values on every worker.

    Args:
        callbacks: What was given to ``fit``.

    Returns:
        The name of its class; empty where there is none.
    """
    given = getattr(callbacks, "callbacks", callbacks)
    given = [] if given is None else given
    for callback in given if isinstance(given, list | tuple) else [given]:
        if isinstance(callback, _ON_CHIEF) or type(callback) in _BLIND_TO_EPOCHS:
            continue
        # A LambdaCallback's methods are its own, and not of its class.
        if any(not is_default(getattr(callback, name)) for name in _OF_EPOCHS):
            return type(callback).__name__
    return ""


def acting(callbacks: Any, engine: Any, verbose: Any, notes: Any) -> Any:
    """Returns the user's callbacks as they run on this worker.

    Args:
        callbacks: What was given to ``fit``; a ``CallbackList`` is changed in place.
        engine: This worker's engine.
        verbose: What was given to ``fit``.
        notes: A callback of our own, which comes first.
    """
    last = GoOn(engine)
    if isinstance(callbacks, CallbackList):
        callbacks.callbacks[:] = _chosen(callbacks.callbacks, engine, verbose)
        for own in (notes, last):
            own.set_model(callbacks.model)
        callbacks.callbacks.insert(0, notes)
        callbacks.append(last)
        return callbacks
    given = [] if callbacks is None else callbacks
    given = list(given) if isinstance(given, list | tuple) else [given]
    return [notes, *_chosen(given, engine, verbose), last]


def _chosen(callbacks: list[Any], engine: Any, verbose: Any) -> list[Any]:
    for callback in callbacks:
        act_alone(callback)
    if not engine.process.rank:
        return callbacks
    kept = [Understudy(c, engine) if isinstance(c, _ON_CHIEF) else c for c in callbacks]
    if verbose and not any(isinstance(c, keras.callbacks.ProgbarLogger) for c in kept):
        kept.append(Understudy(keras.callbacks.ProgbarLogger(), engine, verbose))
    return kept
