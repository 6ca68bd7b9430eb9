"""``--log-messages``: what real jobs and a simulation log of their messages."""

from __future__ import annotations

import re
import sys

import pytest

from tests.processes import ROOT, run

pytestmark = pytest.mark.slow
CLUSTER = ROOT / "examples" / "clusters" / "even.yaml"
BATCHES, EPOCHS = 8, 2
PROGRAM = f"""
import keras, numpy as np
keras.utils.set_random_seed(0)
x = np.random.normal(size=({4 * BATCHES}, 3)).astype("float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(250)])
model.compile("sgd", "mse")
model.fit(x, x.sum(1, keepdims=True), batch_size=4, epochs={EPOCHS}, verbose=0)
"""
TIME = r"\d\d:\d\d:\d\d\.\d{3}"
TOOK = r"[\d.]+ (us|ms|s)"


def job(folder, *words, program=PROGRAM, **environ):
    (folder / "train.py").write_text(program)
    done = run(
        *(sys.executable, "-m", *words, "train.py"),
        folder=folder,
        merged=True,
        **environ,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def logs(folder):
    """Returns the lines of each process, by its number."""
    files = sorted(folder.glob("*-logs/*/messages-*.log"))
    return [file.read_text().splitlines() for file in files]


def matching(lines, pattern):
    return [line for line in lines if re.fullmatch(pattern, line)]


@pytest.mark.mpi
@pytest.mark.parametrize("way", ["flag", "keyword"])
def test_ranks_log_each_operation_of_all(tmp_path, way):
    words, program = ["--log-messages"], PROGRAM
    if way == "keyword":  # when the job has begun
        call = 'import hfdt; hfdt.distribute(model, "sgd", "mse", log="messages")'
        words, program = [], PROGRAM.replace('model.compile("sgd", "mse")', call)
    job(tmp_path, "hfdt.cli", "run", "-np", "2", *words, program=program)
    found = logs(tmp_path)
    assert len(found) == 2
    for rank, lines in enumerate(found):
        gradients = rf"{TIME}  r{rank}  sum  gradients\S+  4\.0 kB  {TOOK}"
        assert len(matching(lines, gradients)) == BATCHES * EPOCHS
        # Nothing else is joint in a step: its part says how large the batch is.
        assert not matching(lines, r".*  samples\S*  .*")
        assert matching(lines, rf"{TIME}  r{rank}  broadcast  variables  .*")


@pytest.mark.mpi
def test_whole_batches_that_are_dealt_are_one_operation_a_step_as_well(tmp_path):
    job(tmp_path, *"hfdt.cli run -np 2 --log-messages --batch per-worker".split())
    for lines in logs(tmp_path):
        assert len(matching(lines, r".*  gradients\S+  .*")) == BATCHES * EPOCHS // 2
        assert not matching(lines, r".*  samples\S*  .*")


@pytest.mark.mpi
def test_worker_and_server_log_the_same_messages(tmp_path):
    job(tmp_path, "nfdt.cli", "run", "-np", "2", NFDT_LOG="messages")
    *workers, server = logs(tmp_path)
    assert len(workers) == 2
    pushes = 0
    for worker, lines in enumerate(workers):
        way, size = f"w{worker} -> s0", r"4\.0 kB"
        sent = matching(
            lines, rf"{TIME}  {way}  push  clock=\d+  batch=\d+  v=\d+  {size}  {TOOK}"
        )
        come = rf"{TIME}  {way}  push  clock=\d+  batch=\d+  {size}"
        assert len(matching(server, come)) == len(sent)
        pushes += len(sent)
    assert pushes == BATCHES * EPOCHS
    assert matching(server, rf"{TIME}  s0 -> w1  params  v=\d+  4\.0 kB  {TOOK}")


def test_a_simulation_logs_in_virtual_time_and_the_same_again(tmp_path):
    words = ("nfdt.cli", "simulate", "--cluster", CLUSTER, "--log-messages")
    line = r"\d+\.\d{6} s  (w\d -> s0|s0 -> w\d)  .*"
    first, second = (
        matching(job(tmp_path, *words).splitlines(), line) for _ in range(2)
    )
    assert first == second
    pushes = [one for one in first if "  push  " in one]
    assert len(pushes) == BATCHES * EPOCHS
    assert all(re.search(rf"4\.0 kB  {TOOK}$", one) for one in pushes)


def test_nothing_is_logged_unasked(tmp_path):
    assert "->" not in job(tmp_path, "nfdt.cli", "simulate", "--cluster", CLUSTER)
