"""One process gives the numbers of plain Keras, through the servers in it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.nfdt import keras_rows
from tests.tables import Rows

pytestmark = pytest.mark.slow
# What the servers' own SGD computes is Keras's to the bit, and other optimizers are
# Keras's; these alone differ, in the order of a sum or in a schedule's arithmetic.
ROUNDED = {
    "schedule": "the rate is computed outside of the step",
    "schedule_after_a_number": "the rate is computed before it is sent",
    "masked_sequence": "the gradient of an embedding is summed row by row",
    "embedding_sgd_momentum": "the gradient of an embedding is summed row by row",
    "jit_compile": "the optimizer's step is not compiled by XLA",
    "float8_accumulates": "sums of gradients are divided on the server",
}
TOLERANCE = 1e-5
# Job -> how far all of its rows may be off: two sum elsewhere, two round gradients
# to 11 and to 8 bits on their way.
TOLERANCES = {
    **dict.fromkeys(("two shards", "own momentum"), TOLERANCE),
    **{"float16": 5e-4, "bfloat16": 2e-2},
}
WIRES = ["float16", "bfloat16"]
# With several servers: rules that look at each element alone.
SHARED = [
    *keras_rows.ELEMENTWISE,
    "adam",
    "schedule",
    "momentum_is_saved",
    "checkpoint_and_restore",
    "embedding_adam",
    "multi_optimizer_by_function",
]
# With one worker nothing is late, so the default comes to the user's own optimizer.
DEFAULT = [
    *("sgd_momentum", "adam", "clip_global_norm", "moving_average", "accumulation"),
    *("embedding_adam", "mixed_float16", "own_train_step", "two_optimizers"),
    *("tape_loop_graph", "muon", "several_fits"),
]
# With all of the elements: by the way of a part of them.
IN_PARTS = ["sgd_momentum", "adam", "embedding_adam", "mixed_float16", "several_fits"]
# With what SGD does besides its step done by the worker.
BY_WORKERS = ["sgd_momentum", "embedding_sgd_momentum", "clip_norm", "clip_global_norm"]
ROUNDED_ON_THEIR_WAY = ["sgd_momentum", "embedding_sgd_momentum"]
# Name of a job -> its choices, and its rows.
JOBS = {
    "asgd": ({"NFDT_ALGORITHM": "asgd"}, list(keras_rows.ROWS)),
    "ddc-asgd": ({"NFDT_ALGORITHM": "ddc-asgd"}, DEFAULT),
    "two shards": ({"NFDT_ALGORITHM": "asgd", "NFDT_SERVERS": "2"}, SHARED),
    **{
        wire: ({"NFDT_ALGORITHM": "asgd", "NFDT_WIRE": wire}, ROUNDED_ON_THEIR_WAY)
        for wire in WIRES
    },
    "all elements": ({"NFDT_WIRE": "topk:1", "NFDT_ALGORITHM": "asgd"}, IN_PARTS),
    "own momentum": ({"NFDT_WIRE": "dgc:1", "NFDT_ALGORITHM": "asgd"}, BY_WORKERS),
}


@pytest.fixture(scope="session")
def found(tmp_path_factory, pool):
    """Name of a job -> what its rows give; all are of one process."""
    started = {
        name: Rows(
            pool,
            [sys.executable, "-m", "nfdt"],
            keras_rows.__file__,
            tmp_path_factory.mktemp("job"),
            rows,
            **variables,
        )
        for name, (variables, rows) in JOBS.items()
    }
    yield started
    for job in reversed(started.values()):  # first those that have not begun
        job.stop()


CASES = [(job, row) for job, (_, rows) in JOBS.items() for row in rows]


@pytest.mark.parametrize(("job", "name"), CASES)
def test_one_worker_gives_the_numbers_of_keras(job, name, plain, found):
    values = found[job].row(name)
    tolerance = TOLERANCES.get(job, TOLERANCE if name in ROUNDED else 0)
    for key, value in plain.row(name).items():
        np.testing.assert_allclose(
            values[key], value, rtol=tolerance, atol=tolerance, err_msg=key
        )


@pytest.mark.parametrize("wire", WIRES)
def test_gradients_are_rounded_on_their_way_where_that_is_asked_for(wire, plain, found):
    rounded, exact = found[wire].row("sgd_momentum"), plain.row("sgd_momentum")
    assert not np.array_equal(rounded["w0"], exact["w0"])
