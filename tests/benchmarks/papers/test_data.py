"""Where data comes from, and what is said where there is none."""

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.papers import data, ddc_asgd_cifar10
from benchmarks.papers.images import CROP, distorted, scaled
from benchmarks.papers.objective import objective


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder of data sets."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    data.load.cache_clear()
    objective.cache_clear()
    yield tmp_path
    data.load.cache_clear()
    objective.cache_clear()


def test_without_data_a_benchmark_says_how_to_get_it(home, tmp_path, monkeypatch):
    def fail():
        raise OSError("no network")

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", fail)
    done = CliRunner().invoke(
        ddc_asgd_cifar10.main, ["--quick", "--output", str(tmp_path / "out")]
    )
    assert done.exit_code == 1
    assert "cifar10 must be on this machine, or a network" in done.output
    assert "no network" in done.output
    assert "downloads it at first use" in done.output


def test_an_archive_is_used_where_there_is_one(home):
    (home / "datasets").mkdir()
    x, y = np.zeros((3, 28, 28), np.uint8), np.arange(3)[:, None]
    arrays = dict(x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    np.savez(home / "datasets" / "fashion_mnist.npz", **arrays)
    found = data.load("fashion_mnist")
    assert found.x.shape == (3, 28, 28, 1) and found.x_test.shape == (2, 28, 28, 1)
    assert found.y.tolist() == [0, 1, 2] and found.y.dtype == np.int32


def test_scaled_images_reach_from_minus_one_to_one():
    images = np.array([0, 255], np.uint8).reshape(1, 2, 1, 1)
    assert scaled(images, None).reshape(-1).tolist() == [-1.0, 1.0]


def test_crops_of_the_test_are_the_middle_and_those_of_training_are_not():
    images = np.random.default_rng(0).integers(0, 255, (50, 32, 32, 3), np.uint8)
    middle = distorted(images, None)
    assert middle.shape == (50, CROP, CROP, 3) and middle.dtype == np.float32
    np.testing.assert_allclose(middle.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(middle.std((1, 2, 3)), 1, rtol=1e-4)
    pixels = images[7, 4:28, 4:28].astype(np.float32)
    expected = (pixels - pixels.mean()) / pixels.std()
    np.testing.assert_allclose(middle[7], expected, rtol=1e-3, atol=1e-4)
    once, again = (distorted(images, np.random.default_rng(s)) for s in (1, 1))
    np.testing.assert_array_equal(once, again)
    assert not np.allclose(once, middle, atol=0.1)
    np.testing.assert_allclose(once.std((1, 2, 3)), 1, rtol=1e-3)
