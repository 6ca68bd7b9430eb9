"""A server's update inside a worker's step needs no thread that is not there."""

import subprocess
import sys

import pytest

from tests.processes import ROOT


@pytest.mark.parametrize("way", ["alone", "simulated"])
def test_one_thread_for_functions_is_enough(way, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    words = [sys.executable, "-m", "tests.nfdt.one_thread_job", way]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    difference = float(done.stdout.rpartition(" ")[2])
    assert difference < 1e-6
