"""``hfdt doctor SCRIPT`` and ``nfdt doctor SCRIPT``, as a user calls them."""

from __future__ import annotations

import sys

import pytest

from tests.processes import run

pytestmark = [pytest.mark.mpi, pytest.mark.horovod, pytest.mark.slow]
SAFE = """
import keras, numpy as np, pathlib
keras.utils.set_random_seed(1)
x = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
net = [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)]
model = keras.Sequential(net)
model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
model.fit(x, x[:, :1], batch_size=16, epochs=50, verbose=0, validation_split=0.2)
model.save_weights("made.weights.h5")
pathlib.Path("made.txt").write_text("made")
"""
UNSAFE = """
import keras, numpy as np, tensorflow as tf
keras.utils.set_random_seed(1)
x = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
order = np.random.default_rng().permutation(2)

class Contrast(keras.Model):
    def __init__(self):
        super().__init__(name="contrast")
        self.dense = keras.layers.Dense(3)
    def call(self, x):
        return self.dense(x)
    def train_step(self, x):
        with tf.GradientTape() as tape:
            alike = tf.matmul(self(x), self(x), transpose_b=True)
            loss = tf.reduce_mean(tf.nn.softmax(alike, axis=0) * alike)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"value": loss}

model = Contrast()
model.build((None, 4))
model.compile(keras.optimizers.SGD(0.1))
model.fit(x, batch_size=16, epochs=50, verbose=0)
"""


def examined(framework, folder, text):
    (folder / "train.py").write_text(text)
    command = (sys.executable, "-m", f"{framework}.cli", "doctor", "train.py")
    return run(*command, folder=folder)


@pytest.mark.parametrize("framework", ["hfdt", "nfdt"])
def test_a_script_that_is_safe_is_said_to_be_and_its_folder_is_left_alone(
    framework, tmp_path
):
    found = examined(framework, tmp_path, SAFE)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "python              fit 1 (train.py:8); 12 steps" in found.stdout
    last = found.stdout.splitlines()[-1]
    assert last == "Safe to distribute, as far as some steps can show."
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_what_will_differ_is_named_with_what_to_write(tmp_path):
    found = examined("hfdt", tmp_path, UNSAFE)
    assert found.returncode == 1
    assert "train.py:5: np.random.default_rng() draws different numbers" in found.stdout
    assert "train_step of contrast trains differently on 2 ranks" in found.stdout
    assert "fit 1 (train.py:24): with hfdt run -np 2 value is" in found.stdout
    assert "Findings to resolve before this script is distributed: 3." in found.stdout


def test_a_script_that_fails_by_itself_is_shown_failing(tmp_path):
    found = examined("nfdt", tmp_path, "raise KeyError('no such column')")
    assert found.returncode == 1
    assert "the script fails by itself" in found.stdout
    assert "KeyError: 'no such column'" in found.stdout
