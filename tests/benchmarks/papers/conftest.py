"""A made-up data set, so that no test needs a real one."""

import numpy as np
import pytest

from benchmarks.papers import data
from benchmarks.papers.data import Data

SHAPES = {"fashion_mnist": (28, 28, 1), "cifar10": (32, 32, 3)}


def made_up(name):
    """Returns images that show their class as a bright row."""
    random = np.random.default_rng(7)

    def some(count):
        y = random.integers(0, 10, count).astype(np.int32)
        x = random.integers(0, 64, (count, *SHAPES[name]), np.uint8)
        for image, row in zip(x, y):
            image[8 + row] = 255
        return x, y

    return Data(*some(256), *some(64))


@pytest.fixture
def small_data(monkeypatch):
    """Puts the made-up data set in place of those of Keras."""
    from benchmarks.papers.objective import objective

    objective.cache_clear()
    monkeypatch.setattr(data, "load", made_up)
    yield
    objective.cache_clear()
