"""Callbacks of worker 0 on the others, which take them up where they succeed it."""

from __future__ import annotations

from typing import Any

import keras


class Understudy(keras.callbacks.Callback):
    """Keeps a callback still until this worker speaks for the job.

    The callback begins then as at the start of a ``fit``: an ``EarlyStopping`` counts
    anew, a ``CSVLogger`` goes on in the file that is there.

    Args:
        inner: The callback.
        engine: This worker's engine.
        verbose: For a progress bar, what was given to ``fit``.
    """

    def __init__(self, inner: Any, engine: Any, verbose: Any = None):
        super().__init__()
        self.inner, self._engine, self._verbose = inner, engine, verbose
        self._acts = False
        self._epoch: int | None = None  # the one that is under way

    def set_params(self, params: Any) -> None:
        """Hands them on."""
        super().set_params(params)
        own = {} if self._verbose is None else {"verbose": self._verbose}
        self.inner.set_params({**params, **own})

    def set_model(self, model: Any) -> None:
        """Hands it on."""
        super().set_model(model)
        self.inner.set_model(model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        if self._acts:
            self.inner.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._is_up():
            self.inner.on_epoch_end(epoch, logs)
        self._epoch = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._acts:
            self.inner.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._acts:
            self.inner.on_train_batch_end(batch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        if self._is_up():
            self.inner.on_test_begin(logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._acts:
            self.inner.on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._acts:
            self.inner.on_test_batch_end(batch, logs)

    def on_test_end(self, logs: Any = None) -> None:
        if self._acts:
            self.inner.on_test_end(logs)

    def on_train_end(self, logs: Any = None) -> None:
        if self._acts:
            self.inner.on_train_end(logs)

    def _is_up(self) -> bool:
        """Whether it acts: from the first epoch whose end finds worker 0 gone."""
        if not self._acts and not self._engine.process.rank:
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
