"""A server's update inside a worker's step needs no thread that is not there."""

import sys

import pytest

from tests.processes import run


@pytest.mark.parametrize("way", ["alone", "simulated"])
def test_one_thread_for_functions_is_enough(way, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    done = run(sys.executable, "-m", "tests.nfdt.one_thread_job", way)
    assert done.returncode == 0, done.stderr
    difference = float(done.stdout.rpartition(" ")[2])
    assert difference < 1e-6
