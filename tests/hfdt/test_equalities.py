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
ALL = tuple(equality_rows.ROWS)
# Ranks, and which job of theirs -> rows; one rank takes Keras's own way through all.
ROWS = {
    (2, "all"): ALL,
    (3, "some"): ALL[::6],
    (3, "others"): tuple(name for i, name in enumerate(ALL) if i % 3),
    (1, "some"): (
        "sgd_momentum",
        "adam",
        "on_batch",
        "own_train_step",
        "tape_loop_graph",
    ),
}


@pytest.fixture(scope="session")
def jobs(tmp_path_factory, pool):
    """Number of ranks, and rows -> the job that trains them; each is started once."""
    started = {}

    def of(size, rows):
        if (size, rows) not in started:
            folder = tmp_path_factory.mktemp(f"ranks{size}")
            program = [sys.executable, "-m", "hfdt.cli", "run", "-np", str(size)]
            table = equality_rows.__file__
            names = ROWS[size, rows]
            started[size, rows] = Rows(pool, program, table, folder, names)
        return started[size, rows]

    yield of
    for job in reversed(started.values()):  # first those that have not begun
        job.stop()


@pytest.mark.parametrize(
    ("size", "rows", "name"),
    [
        pytest.param(
            *(size, rows, name), marks=pytest.mark.long if rows == "others" else ()
        )
        for (size, rows), names in ROWS.items()
        for name in names
    ],
)
def test_numbers_are_those_of_one_process(size, rows, name, plain, jobs):
    found = jobs(size, rows).row(name)
    for key, value in plain.row(name).items():
        np.testing.assert_allclose(
            found[key],
            value,
            rtol=LOOSE.get(name, TOLERANCE),
            atol=LOOSE.get(name, TOLERANCE) / 10,
            err_msg=key,
        )
