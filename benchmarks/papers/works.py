"""What is trained: a data set, a model, and what is done to the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.papers.images import Prepare, distorted, mirrored, scaled


@dataclass(frozen=True)
class Work:
    """One training job, without how it is distributed.

    Args:
        data: Name of the data set.
        model: Makes the model; its first values follow Keras's global seed.
        title: For tables.
        prepare: From images to inputs.
        batch: Samples of one gradient.
        decay: Factor of the sum of squares of the hidden dense layers' kernels.
    """

    data: str
    model: Callable[[], Any]
    title: str
    prepare: Prepare = scaled
    batch: int = 64
    decay: float = 0.0


def _model(name: str, *args: Any) -> Callable[[], Any]:
    """Returns what makes a model, without loading Keras before it does."""

    def make() -> Any:
        from benchmarks.papers import models

        return getattr(models, name)(*args)

    return make


WORKS: Mapping[str, Work] = {
    "fashion_mnist": Work(
        "fashion_mnist",
        _model("small", (28, 28, 1), (8, 16)),
        "Fashion-MNIST, two strided convolutions",
    ),
    "cifar10": Work(
        "cifar10",
        _model("small", (32, 32, 3), (8, 16, 32)),
        "CIFAR-10, three strided convolutions",
    ),
    "cifar10_residual": Work(
        "cifar10",
        _model("residual"),
        "CIFAR-10, a residual network of 8 weight layers with group normalisation",
        prepare=mirrored,
        batch=32,
    ),
    "lenet5": Work("fashion_mnist", _model("lenet5"), "Fashion-MNIST, LeNet-5"),
    "tan": Work(
        "cifar10",
        _model("tan"),
        "CIFAR-10, crops of 24 x 24, Tan's network",
        prepare=distorted,
        batch=128,
        decay=0.004 / 2,
    ),
}
