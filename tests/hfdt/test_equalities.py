"""N ranks give the numbers of one process: one table, real jobs."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.hfdt import equality_rows
from tests.tables import Rows

# Float32 sums in another order; Adam and float16 magnify what they differ by.
TOLERANCE = 5e-4
LOOSE = {"mixed_float16": 5e-3, "multi_optimizer_scaled": 5e-3}
# Number of ranks -> rows; one rank takes Keras's own way through all of them.
ROWS = {
    2: tuple(equality_rows.ROWS),
    3: tuple(equality_rows.ROWS),
    1: ("sgd_momentum", "adam", "on_batch", "own_train_step", "tape_loop_graph"),
}


@pytest.fixture(scope="session")
def jobs(tmp_path_factory, pool):
    """Number of ranks -> the job that trains its rows; each is started once."""
    started = {}

    def of(size):
        if size not in started:
            folder = tmp_path_factory.mktemp(f"ranks{size}")
            program = [sys.executable, "-m", "hfdt.cli", "run", "-np", str(size)]
            table = equality_rows.__file__
            started[size] = Rows(pool, program, table, folder, ROWS[size])
        return started[size]

    yield of
    for job in reversed(started.values()):  # first those that have not begun
        job.stop()


@pytest.mark.parametrize(
    ("size", "name"), [(size, name) for size, rows in ROWS.items() for name in rows]
)
def test_numbers_are_those_of_one_process(size, name, plain, jobs):
    found = jobs(size).row(name)
    for key, value in plain.row(name).items():
        np.testing.assert_allclose(
            found[key],
            value,
            rtol=LOOSE.get(name, TOLERANCE),
            atol=LOOSE.get(name, TOLERANCE) / 10,
            err_msg=key,
        )
