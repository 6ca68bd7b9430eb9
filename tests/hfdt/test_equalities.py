"""N ranks give the numbers of one process: one table, real jobs."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.hfdt import equality_rows

PROGRAM = pathlib.Path(equality_rows.__file__)
# Float32 sums in another order; Adam and float16 magnify what they differ by.
TOLERANCE = 5e-4
LOOSE = {"mixed_float16": 5e-3}


def run(command, path, names=()):
    subprocess.run(
        [*command, str(PROGRAM), str(path), *names],
        check=True,
        timeout=900,
        cwd=path.parent,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return dict(np.load(path))


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """What plain Keras gives, in one process that knows nothing of HFDT."""
    return run([sys.executable], tmp_path_factory.mktemp("plain") / "out.npz")


@pytest.fixture(scope="session", params=[1, 2, 3], ids="np{}".format)
def found(request, tmp_path_factory):
    """What all rows give on a number of ranks, of one job."""
    size = str(request.param)
    path = tmp_path_factory.mktemp(f"ranks{size}") / "out.npz"
    return run([sys.executable, "-m", "hfdt.cli", "run", "-np", size], path)


@pytest.mark.parametrize("name", equality_rows.ROWS)
def test_numbers_are_those_of_one_process(name, plain, found):
    expected = {k: v for k, v in plain.items() if k.startswith(f"{name}/")}
    assert expected
    for key, value in expected.items():
        np.testing.assert_allclose(
            found[key],
            value,
            rtol=LOOSE.get(name, TOLERANCE),
            atol=LOOSE.get(name, TOLERANCE) / 10,
            err_msg=key,
        )
