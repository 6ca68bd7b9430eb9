"""The roles of callbacks: which callback of a ``fit`` runs on which worker.

What watches validation or writes files runs on worker 0, and what it decides reaches
the others through the servers: an early stop, a learning rate, restored weights. Any
other callback runs on every worker, with the logs of the whole job's training; where
one looks at the ends of epochs, all workers wait for worker 0's validation.

Callbacks of worker 0 on the others, which take them up where they succeed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras.callbacks import CallbackList

from fdtcore.engine import Collectives
from fdtcore.glue.callbacks import act_alone, listed
from fdtcore.glue.keras_internals import OrbaxCheckpoint, is_default
from fdtcore.keras_types import Callback, Callbacks, Logs, Model


class StandbyCallback(keras.callbacks.Callback):
    """Keeps a callback still until this worker speaks for the job.

    The callback begins then as at the start of a ``fit``: an ``EarlyStopping`` counts
    anew, a ``CSVLogger`` goes on in the file that is there.

    Args:
        inner: Callback to forward to.
        collectives: Those of the workers.
        verbose: For a progress bar, what was given to ``fit``.
    """

    def __init__(
        self,
        inner: Callback,
        collectives: Collectives,
        verbose: str | int | None = None,
    ):
        super().__init__()
        self.inner, self._collectives, self._verbose = inner, collectives, verbose
        self._acts = False
        self._epoch: int | None = None  # the one that is under way

    def set_params(self, params: dict[str, Any]) -> None:
        """Hands them on."""
        super().set_params(params)
        own = {} if self._verbose is None else {"verbose": self._verbose}
        self.inner.set_params({**params, **own})

    def set_model(self, model: Model) -> None:
        """Hands it on."""
        super().set_model(model)
        self.inner.set_model(model)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch
        if self._acts:
            self.inner.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self._is_up():
            self.inner.on_epoch_end(epoch, logs)
        self._epoch = None

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if self._acts:
            self.inner.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self._acts:
            self.inner.on_train_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        if self._is_up():
            self.inner.on_test_begin(logs)

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if self._acts:
            self.inner.on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self._acts:
            self.inner.on_test_batch_end(batch, logs)

    def on_test_end(self, logs: Logs = None) -> None:
        if self._acts:
            self.inner.on_test_end(logs)

    def on_train_end(self, logs: Logs = None) -> None:
        if self._acts:
            self.inner.on_train_end(logs)

    def _is_up(self) -> bool:
        """Whether it acts: from the first epoch whose end finds worker 0 gone."""
        if not self._acts and not self._collectives.process.rank:
            self._acts = True
            self._begin()
        return self._acts

    def _begin(self) -> None:
        if isinstance(self.inner, keras.callbacks.CSVLogger):
            self.inner.append = True
        # What was kept is older than what the servers have.
        if not isinstance(self.inner, keras.callbacks.BackupAndRestore):
            self.inner.on_train_begin()
        if self._epoch is not None:
            self.inner.on_epoch_begin(self._epoch)


_ON_CHIEF = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.EarlyStopping,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.SwapEMAWeights,
    keras.callbacks.TensorBoard,
    *([OrbaxCheckpoint] if OrbaxCheckpoint else []),
)


# Of Keras's own, those that read nothing of an epoch.
_BLIND_TO_EPOCHS = (
    keras.callbacks.History,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.TerminateOnNaN,
)
_OF_EPOCHS = ("on_epoch_end", "on_test_begin", "on_test_end", "on_train_end")


class BatchReport(keras.callbacks.Callback):
    """Tells that a validation makes progress, for which other workers may wait.

    Args:
        note: Takes what has been done.
    """

    async_safe = True

    def __init__(self, note: Callable[[str], None]):
        super().__init__()
        self._note = note

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        del logs
        self._note(f"its test batch {batch}")


def with_progress(callbacks: Callbacks, note: Callable[[str], None]) -> Callbacks:
    """Returns the callbacks of an ``evaluate``, one more of which reports its batches.

    Args:
        callbacks: What was given to it; a ``CallbackList`` is changed in place.
        note: Takes what has been done.
    """
    if not isinstance(callbacks, CallbackList):
        return [*listed(callbacks), BatchReport(note)]
    if not any(isinstance(one, BatchReport) for one in callbacks.callbacks):
        callbacks.callbacks.append(BatchReport(note))
    return callbacks


def is_on_chief(callback: Callback) -> bool:
    """Whether a callback runs on the first worker alone."""
    return isinstance(callback, _ON_CHIEF)


def reads_epochs(callbacks: Callbacks) -> str:
    """Returns the first callback that may read validation values on every worker.

    Args:
        callbacks: What was given to ``fit``.

    Returns:
        The name of its class; empty where there is none.
    """
    for callback in listed(callbacks):
        if isinstance(callback, _ON_CHIEF) or type(callback) in _BLIND_TO_EPOCHS:
            continue
        # A LambdaCallback's methods are its own, and not of its class.
        if any(not is_default(getattr(callback, name)) for name in _OF_EPOCHS):
            return type(callback).__name__
    return ""


def on_this_worker(
    callbacks: Callbacks,
    collectives: Collectives,
    verbose: str | int,
    *,
    first: Callback,
    last: Callback,
) -> Callbacks:
    """Returns the user's callbacks as they run on this worker.

    Args:
        callbacks: What was given to ``fit``; a ``CallbackList`` is changed in place.
        collectives: Those of the workers.
        verbose: What was given to ``fit``.
        first: A callback of our own, which comes before the user's.
        last: One that comes behind them.
    """
    if isinstance(callbacks, CallbackList):
        callbacks.callbacks[:] = _chosen(callbacks.callbacks, collectives, verbose)
        for own in (first, last):
            own.set_model(callbacks.model)
        callbacks.callbacks.insert(0, first)
        callbacks.callbacks.append(last)
        return callbacks
    return [first, *_chosen(listed(callbacks), collectives, verbose), last]


def _chosen(
    callbacks: list[Callback], collectives: Collectives, verbose: str | int
) -> list[Callback]:
    for callback in callbacks:
        act_alone(callback)
    if not collectives.process.rank:
        return callbacks
    kept = [
        StandbyCallback(c, collectives) if isinstance(c, _ON_CHIEF) else c
        for c in callbacks
    ]
    if verbose and not any(isinstance(c, keras.callbacks.ProgbarLogger) for c in kept):
        bar = keras.callbacks.ProgbarLogger()
        kept.append(StandbyCallback(bar, collectives, verbose))
    return kept
