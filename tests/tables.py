"""Jobs that train the rows of a table of programs, while the tests go on."""

from __future__ import annotations

import os
import subprocess

import numpy as np

from tests.commands import LEAN, ROOT

LIMIT_S = 900


class Rows:
    """One job, which is started when a thread of the pool is free.

    Args:
        pool: Waits for jobs, for as many at a time as there are cores to run them.
        command: What runs a Python program.
        table: The program: ``table.py OUT.npz [NAME ...]``.
        folder: Where it runs, and what it prints is kept.
        names: The rows to train; none for all.
        **environ: Variables to set.
    """

    def __init__(self, pool, command, table, folder, names=(), **environ):
        self._folder = folder
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
            self._process.terminate()

    def _train(self, words, environ):
        path = self._folder / "out.log"
        with path.open("w") as log:
            self._process = subprocess.Popen(
                words,
                cwd=self._folder,
                env={
                    **os.environ,
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                    "PYTHONPATH": f"{LEAN}{os.pathsep}{ROOT}",
                    **environ,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        code = self._process.wait(LIMIT_S)
        assert code == 0, path.read_text()
        return dict(np.load(self._folder / "out.npz"))
