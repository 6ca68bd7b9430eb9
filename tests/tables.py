"""Jobs that train the rows of a table of programs, while the tests go on."""

from __future__ import annotations

import contextlib
import fcntl

import numpy as np

from tests.processes import Process

LIMIT_S = 1800


class Rows:
    """One job, which is started when a thread of the pool is free.

    Args:
        pool: Waits for jobs, for as many at a time as there are cores to run them.
        command: What runs a Python program.
        table: The program: ``table.py OUT.npz [NAME ...]``.
        folder: Where it runs, and what it prints is kept.
        names: The rows to train; none for all.
        shared: Given where other processes have the same job and folder: the first
            one trains, within this context, and the others read what it has found.
        **environ: Variables to set.
    """

    def __init__(
        self, pool, command, table, folder, names=(), *, shared=None, **environ
    ):
        self._folder, self._shared = folder, shared
        self._process = None  # not started yet
        words = [*command, table, folder / "out.npz", *names]
        self._arrays = pool.submit(self._train, words, environ)

    def row(self, name):
        """Returns the arrays of one row by their names, when the job has ended."""
        begin = f"{name}/"
        arrays = self._arrays.result()
        found = {
            key.removeprefix(begin): value
            for key, value in arrays.items()
            if key.startswith(begin)
        }
        assert found, f"no row {name}"
        return found

    def stop(self):
        """Ends the job, where it has not."""
        if not self._arrays.cancel() and self._process is not None:
            self._process.end()

    def _train(self, words, environ):
        done = self._folder / "done"
        with self._alone():
            if not done.exists():
                with (self._shared or contextlib.nullcontext)():
                    self._run(words, environ)
                done.touch()
        return dict(np.load(self._folder / "out.npz"))

    @contextlib.contextmanager
    def _alone(self):
        if self._shared is None:
            yield
            return
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            yield

    def _run(self, words, environ):
        log = self._folder / "out.log"
        with Process(*words, folder=self._folder, log=log, **environ) as self._process:
            done = self._process.ended(LIMIT_S)
        assert done.returncode == 0, done.stdout
