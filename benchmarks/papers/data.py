"""The data sets, as uint8 images where keras.datasets keeps them."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

NAMES = ("fashion_mnist", "cifar10")


class Data(NamedTuple):
    """Images and their classes."""

    x: npt.NDArray[np.uint8]  # [N, height, width, channels]
    y: npt.NDArray[np.int32]  # [N]
    x_test: npt.NDArray[np.uint8]
    y_test: npt.NDArray[np.int32]


class MissingData(RuntimeError):
    """A data set is not on this machine, and cannot be fetched."""


@functools.cache
def load(name: str) -> Data:
    """Returns a data set; Keras fetches it where it is not here yet.

    Args:
        name: One of ``NAMES``.

    Raises:
        MissingData: It is not here, and there is no network.
    """
    archive = _folder() / f"{name}.npz"
    if archive.exists():
        with np.load(archive) as found:
            names = ("x_train", "y_train", "x_test", "y_test")
            return _shaped(*(found[part] for part in names))
    return _from_keras(name)


def _from_keras(name: str) -> Data:
    import keras

    try:
        (x, y), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises nothing narrower
        raise MissingData(
            f"{name} must be on this machine, or a network to fetch it. Received: "
            f"{error}. Run once with a network: keras.datasets.{name} downloads it at "
            f"first use, into {_folder()}."
        ) from error
    return _shaped(x, y, x_test, y_test)


def _folder() -> Path:
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"


def _shaped(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray
) -> Data:
    images = [part if part.ndim == 4 else part[..., None] for part in (x, x_test)]
    classes = [part.reshape(-1).astype(np.int32) for part in (y, y_test)]
    return Data(images[0], classes[0], images[1], classes[1])
