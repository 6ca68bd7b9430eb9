"""Page faults of training steps, by where their data come from.

TensorFlow's ``GeneratorDataset`` has every buffer of 128 KiB or more mapped anew in
each step. NFDT reads its batches without it, and what it sets for the user's own data
is put back.
"""

import pathlib
import platform
import re
import sys

import pytest
import tensorflow as tf

from tests import processes
from tests.hfdt import real_jobs
from tests.hfdt.real_jobs import Job
from tests.nfdt import real_runs

PROGRAM = pathlib.Path(__file__).parent / "page_faults.py"
FEW, MANY = 500, 2000
pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another allocator has other thresholds"
)
as_seen = pytest.mark.skipif(
    not tf.__version__.startswith("2.21.")
    or sys.version_info[:2] not in [(3, 11), (3, 12)],
    reason="seen with TensorFlow 2.21 on Python 3.11 and 3.12",
)
VARIABLES = {
    # oneDNN, which not every CPU has, keeps memory of its own.
    "TF_ENABLE_ONEDNN_OPTS": "0",
    # Whatever the machine is set to is not what these tests are about.
    "GLIBC_TUNABLES": None,
    "LD_PRELOAD": None,
    "MALLOC_ARENA_MAX": None,
}


def faults(text):
    [number] = re.findall(r"page faults of a step: (\d+)", text)
    return int(number)


def by_hfdt(folder, data, np=1, **environ):
    words = ("-np", np, "--output", "logs", PROGRAM, data)
    job = Job(folder, *real_jobs.RUN, *words, **VARIABLES | environ)
    assert job.code == 0, job.text
    return job


@as_seen
@pytest.mark.parametrize("data", ["generator", "py_dataset", "interleaved"])
def test_plain_keras_maps_its_buffers_anew_in_each_step(data):
    """TensorFlow 2.21.0 (findings/from_generator_mmap_threshold.sh)."""
    done = processes.run(sys.executable, PROGRAM, data, **VARIABLES)
    assert faults(done.stdout) > MANY


@pytest.mark.parametrize("data", ["arrays", "generator", "py_dataset", "interleaved"])
def test_hfdt_keeps_them(tmp_path, data):
    assert faults(by_hfdt(tmp_path, data).text) < FEW


@pytest.mark.parametrize("data", ["arrays", "generator"])
def test_workers_of_nfdt_keep_them(tmp_path, data):
    words = ("-np", 2, "--output", "logs", PROGRAM, data)
    job = Job(tmp_path, *real_runs.RUN, *words, **VARIABLES)
    assert job.code == 0, job.text
    assert faults(job.text) < FEW
    assert faults(job.log()) < FEW


@as_seen
def test_a_setting_of_the_user_stays(tmp_path):
    job = by_hfdt(tmp_path, "generator", MALLOC_ARENA_MAX="4")
    assert faults(job.text) > MANY
