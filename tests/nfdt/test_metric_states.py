"""Metrics of the user's own are those of all workers' batches."""

from __future__ import annotations

import sys

import numpy as np

from tests.hfdt import reductions_rows
from tests.tables import Rows

ROW = "metrics_without_training"


def test_states_of_two_workers_combine_as_one_worker_has_updated_them(
    tmp_path_factory, pool
):
    table = reductions_rows.__file__
    programs = {
        "plain": [sys.executable],
        "two workers": [sys.executable, "-m", "nfdt.cli", "run", "-np", "2"],
    }
    plain, found = (
        Rows(pool, words, table, tmp_path_factory.mktemp("job"), (ROW,)).row(ROW)
        for words in programs.values()
    )
    for key, value in plain.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5, err_msg=key)
