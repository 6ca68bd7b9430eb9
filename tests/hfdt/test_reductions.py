"""Losses and metrics that reduce a batch themselves give the numbers of one process.

Or a line says which of them does not, and what to write.
"""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from tests.hfdt import reductions_rows
from tests.tables import Rows

TOLERANCE = 5e-4
ROWS = tuple(reductions_rows.ROWS)
# Where the number of ranks matters most: unequal parts, and none.
UNEQUAL = (
    "sum_over_a_constant",
    "dice_of_fewer_samples_than_ranks",
    "contrast_of_samples",
    "several_outputs",
    "sum_that_a_layer_adds",
    "own_step_of_a_sum_last_of_one",
    "metrics_of_ones_own",
)
SAYING = tuple(function.__name__ for function in reductions_rows.SAYING)
# Number of ranks -> rows.
JOBS = {2: (*SAYING, *ROWS), 3: UNEQUAL}
NUMBERS = r"\([\d.]+ for a batch, [\d.]+ for its parts\)"
# What differs -> what is said.
SENTENCES = {
    "a step of the user's own": r"train_step of own trains differently on 2 ranks than "
    rf"on one: its gradient is not a mean over samples {NUMBERS}\. Compare gathered "
    r"samples, hfdt\.allgather\(features\); use tf\.reduce_mean\(losses\), not a "
    r"sum divided by a constant; or give each rank whole batches, --batch per-worker\.",
    "its test step": r"test_step of own passes a metric one value for a batch which is "
    rf"not a mean over samples {NUMBERS}, so its result refers to parts of batches\."
    r" Pass it one value per sample, or gather them first, "
    r"hfdt\.allgather\(features\)\.",
    "a term of a layer": r"the term that layers of sequential\S* add by "
    rf"add_loss is not a mean over samples {NUMBERS}: each rank "
    r"computes it from its part\. Gather the values that it uses, "
    r"hfdt\.allgather\(features\), or give each rank whole batches, --batch "
    r"per-worker\.",
    "a loss of the batch": rf"loss 'dice' is not a mean over samples {NUMBERS}: each "
    r"step gathers targets and predictions of all ranks and computes it on the whole "
    r"batch\. The numbers are the same\.",
    "a metric": r"metric 'last': its variable 'state' combines two parts of a batch by "
    r"neither sum, mean, maximum nor minimum, so its value refers to parts of batches\."
    r" Keep sums in the variables, and compute the rest in result\(\)\.",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory, pool):
    """What plain Keras gives for each row."""
    folder = tmp_path_factory.mktemp("plain")
    job = Rows(pool, [sys.executable], reductions_rows.__file__, folder)
    yield job
    job.stop()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, pool):
    """Number of ranks -> the job that trains all rows, and the folder it runs in."""
    started = {}
    for size, names in JOBS.items():
        folder = tmp_path_factory.mktemp(f"ranks{size}")
        program = [sys.executable, "-m", "hfdt.cli", "run", "-np", str(size)]
        rows = Rows(pool, program, reductions_rows.__file__, folder, names)
        started[size] = rows, folder
    yield started
    for rows, _ in started.values():
        rows.stop()


@pytest.mark.parametrize(
    ("size", "name"), [(2, n) for n in ROWS] + [(3, n) for n in UNEQUAL]
)
def test_numbers_are_those_of_one_process(size, name, plain, jobs):
    found = jobs[size][0].row(name)
    for key, value in plain.row(name).items():
        np.testing.assert_allclose(
            found[key], value, rtol=TOLERANCE, atol=TOLERANCE / 10, err_msg=key
        )


@pytest.mark.parametrize("name", SENTENCES)
def test_what_differs_is_said_once(name, jobs):
    rows, folder = jobs[2]
    rows.row(ROWS[-1])  # the job has ended
    said = re.findall(rf"hfdt: {SENTENCES[name]}\n", (folder / "out.log").read_text())
    assert len(said) == len(set(said)) > 0


def test_what_is_a_mean_or_a_sum_or_drawn_is_not_mentioned(jobs):
    rows, folder = jobs[2]
    rows.row(ROWS[-1])
    text = (folder / "out.log").read_text()
    for name in ("over_constant", "of quiet", "'hits'", "'largest'"):
        assert name not in text
