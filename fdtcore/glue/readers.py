"""Python code that reads data ahead, kept still while a step is tried.

TensorFlow runs it in threads of its own. What it draws from the generators of Python
and NumPy must not be undone with what the trial has drawn: the next shuffle would be
another than that of one process, and another on each rank.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from fdtcore.glue import binding
from fdtcore.glue.keras_internals import (
    DataAdapter,
    GeneratorDataAdapter,
    PyDatasetAdapter,
)
from fdtcore.keras_types import PyDataset

# A generator may wait for what the program does only after the step.
PATIENCE_S = 10.0


@contextlib.contextmanager
def resting(patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Lets no reader begin another batch while the block runs.

    Args:
        patience_s: How long those that have begun one are waited for, in seconds.
    """
    readers = binding.context().readers
    with readers.changed:
        readers.num_trials += 1
        readers.changed.wait_for(lambda: not readers.num_reading, patience_s)
    try:
        yield
    finally:
        with readers.changed:
            readers.num_trials -= 1
            readers.changed.notify_all()


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Surrounds the code that makes one batch."""
    readers = binding.context().readers
    with readers.changed:
        readers.changed.wait_for(lambda: not readers.num_trials)
        readers.num_reading += 1
    try:
        yield
    finally:
        with readers.changed:
            readers.num_reading -= 1
            readers.changed.notify_all()


def hold(adapter: DataAdapter) -> bool:
    """Makes an adapter of Keras's read inside :func:`reading`.

    Returns:
        Whether its data are made by Python, in this process.
    """
    if isinstance(adapter, GeneratorDataAdapter):
        adapter.generator = _held(adapter.generator)
        return True
    if not isinstance(adapter, PyDatasetAdapter):
        return False
    if adapter.enqueuer and adapter.py_dataset.use_multiprocessing:
        return False
    adapter.py_dataset = _Held(adapter.py_dataset)
    if adapter.enqueuer:
        adapter.enqueuer.py_dataset = adapter.py_dataset
    return True


def in_threads_of_its_own(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Lets a data set wait without holding a thread that trains."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = 2
    return dataset.with_options(options)


def _held(make: Callable[[], Iterator[Any]]) -> Callable[[], Iterator[Any]]:
    def batches() -> Iterator[Any]:
        found = make()
        while True:
            with reading():
                try:
                    batch = next(found)
                except StopIteration:
                    return
            yield batch

    return batches


class _Held:
    """A ``PyDataset`` whose batches are made inside :func:`reading`."""

    def __init__(self, inner: PyDataset):
        self._inner = inner

    def __getitem__(self, index: int) -> Any:
        with reading():
            return self._inner[index]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
