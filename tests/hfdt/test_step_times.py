"""``--stats``: where the time of a step went."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from hfdt.step_times import lines
from hfdt.telemetry import steps, summary
from hfdt.telemetry.trace import read
from tests.processes import run

SLOW_S, BATCHES, EPOCHS = 0.05, 10, 2
PROGRAM = f"""
import os, time, keras, numpy as np, tensorflow as tf

class Slow(keras.Sequential):
    def train_step(self, data):
        if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
            x, *rest = data
            slow = tf.numpy_function(self.slowly, [x], tf.float32)
            data = (tf.ensure_shape(slow, x.shape), *rest)
        return super().train_step(data)

    def slowly(self, x):
        time.sleep({SLOW_S})
        return x

x = np.random.default_rng(0).normal(size=({4 * BATCHES}, 3)).astype("float32")
model = Slow([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
for _ in range(2):
    model.fit(x, x.sum(1, keepdims=True), batch_size=4, epochs={EPOCHS}, verbose=0)
"""


def times(text):
    """Returns by name the times of a line: the mean, the least and the greatest."""
    found = re.findall(r"^(?:hfdt: )?([a-z]+) {2,}(.*)", text, re.MULTILINE)
    return {name: [float(n) for n in re.findall(r"\d+\.\d+", of)] for name, of in found}


def test_the_last_rank_waits_for_nobody():
    # Two ranks, two operations in two steps: each waits for the other once.
    of_all_s = np.array([[0.100, 0.090, 0.080], [0.110, 0.090, 0.084]])
    joint_s = np.array([[0.010, 0.030], [0.014, 0.004]])
    found = times("\n".join(lines(of_all_s, joint_s, 2)))
    assert found["steps"] == [52.5]  # on average
    assert found["exchanging"] == [7.0]  # 10 and 4 ms
    assert found["waiting"] == [7.5, 2.0, 13.0]
    assert found["computing"] == [26.5, 20.0, 33.0]
    assert found["wrapper"] == [4.0, 3.0, 5.0]
    assert found["between"] == [7.5, 5.0, 10.0]


@pytest.mark.slow
def test_one_rank_is_told_that_there_is_nothing_to_say(tmp_path):
    (tmp_path / "train.py").write_text(PROGRAM.replace("OMPI_COMM_WORLD_RANK", "HOME"))
    words = (sys.executable, "-m", "hfdt.cli", "run", "-np", "1", "--stats", "train.py")
    done = run(*words, folder=tmp_path, merged=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout == "hfdt: stats need several ranks: one waits for nobody.\n"


@pytest.mark.mpi
@pytest.mark.slow
def test_a_rank_waits_for_the_one_that_is_slow(tmp_path):
    (tmp_path / "train.py").write_text(PROGRAM)
    words = (sys.executable, "-m", "hfdt.cli", "run", "-np", "2", "--stats")
    words += ("--trace", "trace", "train.py")
    done = run(*words, folder=tmp_path, merged=True)
    assert done.returncode == 0, done.stdout
    line = f"hfdt: steps       {BATCHES * EPOCHS - 1} of "
    assert done.stdout.count(line) == 2  # after each fit
    found = times(done.stdout)
    parts = [found[name][0] for name in ("computing", "waiting", "exchanging")]
    parts += [found[name][0] for name in ("wrapper", "between")]
    assert sum(parts) == pytest.approx(found["steps"][0], abs=0.05)
    _, least_ms, most_ms = found["waiting"]
    assert least_ms < 500 * SLOW_S < most_ms
    assert found["computing"][2] > 1000 * SLOW_S > found["exchanging"][0]
    trace = read(tmp_path / "trace")
    fast, slow = summary.of_ranks(trace, steps.build(trace.lives))
    assert fast.steps == slow.steps == 2 * BATCHES * EPOCHS
    assert fast.waiting_s > SLOW_S / 2 > slow.waiting_s
    assert slow.computing_s > SLOW_S > max(fast.reducing_s, slow.reducing_s)
