"""HFDT's mean of gradients is Horovod's own, seen through the weights it leads to."""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pytest

from tests.hfdt import horovod_reference as reference
from tests.processes import run

PROGRAM = pathlib.Path(reference.__file__)
NAMES = ["sgd", "nesterov", "adam"]

pytestmark = [pytest.mark.mpi, pytest.mark.horovod, pytest.mark.slow]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """What two ranks end with, by whom they were made to agree."""
    folder = tmp_path_factory.mktemp("reference")
    found = {}
    for how in ("horovod", "hfdt"):
        path = folder / f"{how}.npz"
        words = ["mpirun", "-np", "2", "--map-by", ":OVERSUBSCRIBE", sys.executable]
        yielding = {"OMPI_MCA_mpi_yield_when_idle": "1"}
        done = run(*words, PROGRAM, how, path, folder=folder, **yielding)
        assert done.returncode == 0, done.stderr
        found[how] = dict(np.load(path))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_those_of_horovod_with_keras_2(name, weights):
    expected = {k: v for k, v in weights["horovod"].items() if k.startswith(f"{name}/")}
    assert len(expected) == 4
    for key, value in expected.items():
        np.testing.assert_allclose(
            weights["hfdt"][key], value, rtol=1e-5, atol=2e-6, err_msg=key
        )
