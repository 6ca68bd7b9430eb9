"""From images to what a network takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.float32]  # [n, height, width, channels]
# Uint8 images, and a generator while training (None: for the test), to inputs.
Prepare = Callable[[npt.NDArray[np.uint8], np.random.Generator | None], Images]

CROP = 24  # pixels of an edge


def scaled(images: npt.NDArray[np.uint8], random: np.random.Generator | None) -> Images:
    """Returns images in [-1, 1], otherwise as they are."""
    del random
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1)


def mirrored(
    images: npt.NDArray[np.uint8], random: np.random.Generator | None
) -> Images:
    """Returns images in [-1, 1]; in training one half of them is mirrored."""
    found = scaled(images, None)
    if random is not None:
        turned = random.random(len(found)) < 0.5
        found[turned] = found[turned, :, ::-1]
    return found


def distorted(
    images: npt.NDArray[np.uint8], random: np.random.Generator | None
) -> Images:
    """Returns 24 x 24 crops of mean 0 and deviation 1, each distorted by itself.

    In training a crop anywhere, mirrored or not, with brightness +-63 and contrast 0.2
    to 1.8 about its mean; for the test the middle, undistorted.
    """
    count, edge = len(images), images.shape[1] - CROP
    corners = np.full((2, count), edge // 2)
    if random is not None:
        corners = random.integers(0, edge + 1, (2, count))
    rows, columns = (corner[:, None] + np.arange(CROP) for corner in corners)
    each = np.arange(count)[:, None, None]
    found = images[each, rows[:, :, None], columns[:, None, :]].astype(np.float32)
    if random is not None:
        mirrored = random.random(count) < 0.5
        found[mirrored] = found[mirrored, :, ::-1]
        found += random.uniform(-63, 63, (count, 1, 1, 1)).astype(np.float32)
        mean = found.mean((1, 2), keepdims=True)
        contrast = random.uniform(0.2, 1.8, (count, 1, 1, 1)).astype(np.float32)
        found = mean + contrast * (found - mean)
    found -= found.mean((1, 2, 3), keepdims=True)
    # As in the network's own program: an image of one colour is not divided by 0.
    deviation = found.std((1, 2, 3), keepdims=True)
    return found / np.maximum(deviation, found[0].size ** -0.5).astype(np.float32)
