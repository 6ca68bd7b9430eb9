"""HFDT's mean of gradients is Horovod's own, seen through the weights it leads to."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.hfdt import horovod_reference as reference

ROOT = pathlib.Path(__file__).parents[2]
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
        subprocess.run(
            [*words, str(PROGRAM), how, str(path)],
            check=True,
            timeout=300,
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
                ),
                "OMPI_ALLOW_RUN_AS_ROOT": "1",
                "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                "OMPI_MCA_mpi_yield_when_idle": "1",
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
        )
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
