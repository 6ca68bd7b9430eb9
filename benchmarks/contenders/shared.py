"""Model, data, options and the JSON line that all contenders have in common."""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

IMAGES_IN_SET = 60_000


def options(description: str) -> argparse.Namespace:
    """Read the options that every contender takes.

    Args:
        description: First line of the contender's help.

    Returns:
        ``model``, ``batch`` (of this script), ``steps``, ``epochs``, ``tail``,
        ``slowdown`` and ``slow_rank``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", choices=("cnn", "payload"), required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True, help="per epoch")
    parser.add_argument("--epochs", type=int, required=True, help="timed epochs")
    parser.add_argument("--tail", type=int, default=0, help="untimed, at the end")
    parser.add_argument("--slowdown", type=int, default=1, help="of one rank")
    parser.add_argument("--slow-rank", type=int, default=0)
    return parser.parse_args()


def build_model(name: str) -> keras.Model:
    """Return the uncompiled model: "cnn" 843 658 or "payload" 25 025 880 parameters."""
    layers = keras.layers
    if name == "payload":
        hidden = [layers.Dense(4200, "relu"), layers.Dense(4200, "relu")]
        hidden += [layers.Dense(970, "relu")]
        return keras.Sequential(
            [layers.Input((28, 28, 1)), layers.Flatten(), *hidden, layers.Dense(10)]
        )
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(512, "relu"),
            layers.Dense(10),
        ]
    )


def build_loss() -> keras.losses.Loss:
    """Return the loss of all works."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build_optimizer() -> keras.optimizers.Optimizer:
    """Return the optimizer of all works; SGD, so that the step stays light."""
    return keras.optimizers.SGD(0.01)


def read_data(samples: int) -> tuple[npt.NDArray, npt.NDArray, str]:
    """Return training data, repeated or cut to a length.

    Args:
        samples: How many images to return.

    Returns:
        Images [samples, 28, 28, 1] float32, labels [samples] int64, and where they
        come from: Fashion-MNIST where ``keras.datasets`` finds it without a
        network, else random numbers of its shape.
    """
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    source = "Fashion-MNIST"
    if len(list((home / "datasets" / "fashion-mnist").glob("*.gz"))) == 4:
        (images, labels), _ = keras.datasets.fashion_mnist.load_data()
    else:
        source = "random data of Fashion-MNIST's shape"
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (IMAGES_IN_SET, 28, 28), np.uint8)
        labels = generator.integers(0, 10, IMAGES_IN_SET)
    chosen = np.arange(samples) % len(images)
    scaled = images[chosen, :, :, None].astype(np.float32) / 255
    return scaled, labels[chosen].astype(np.int64), source


def time_epochs(run_epoch: Callable[[], None], epochs: int) -> float:
    """Run one untimed epoch, then ``epochs`` timed ones, and return their seconds."""
    run_epoch()
    start_s = time.perf_counter()
    for _ in range(epochs):
        run_epoch()
    return time.perf_counter() - start_s


def print_speed(images: int, seconds: float, data: str) -> None:
    """Print the JSON line that the benchmark reads.

    Args:
        images: Images trained on in the timed epochs, by all ranks of this job.
        seconds: Wall time of these epochs.
        data: Where the data came from.
    """
    line = {"images": images, "seconds": round(seconds, 4), "data": data}
    print(json.dumps(line), flush=True)
