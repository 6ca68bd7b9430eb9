"""Trains a convolutional network on Fashion-MNIST.

The explicit form of fashion_mnist_single.py, for a parameter server. keras.datasets
fetches the data, 30 MB, where it is not on this machine yet.

    nfdt run -np 2 examples/fashion_mnist_nfdt.py
    mpirun -np 3 python examples/fashion_mnist_nfdt.py

Last line: test accuracy 0.8813, 3 epochs in 55.5 s, 3241 images/s
"""

import argparse
import dataclasses
import time
from typing import Any

import keras
from keras import layers

import nfdt


@dataclasses.dataclass(frozen=True)
class Options:
    """What may be chosen on the command line."""

    epochs: int = 3  # passes over the training data
    batch_size: int = 128  # samples of one step, of all processes together
    learning_rate: float = 0.02  # of gradient descent with momentum 0.9
    seed: int = 0  # of first weights and shuffles
    history: str = ""  # CSV file for the losses of each epoch; empty for none


def load_data() -> Any:
    """Returns ``((x, y), (x_test, y_test))``, or ends with a line that says why."""
    try:
        return keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras raises nothing narrower
        raise SystemExit(
            "Fashion-MNIST must be on this machine, or a network to fetch it. "
            f"Received: {error}. Connect once, or copy the four .gz files of the data "
            "set into ~/.keras/datasets/fashion-mnist."
        ) from None


def build_model() -> keras.Model:
    """Makes a network of 0.84 M parameters, without layers that look at the batch."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dense(10),
        ]
    )


def main(options: Options) -> None:
    """Trains, evaluates and prints one line."""
    keras.utils.set_random_seed(options.seed)
    (x, y), (x_test, y_test) = load_data()
    x, x_test = (part[..., None].astype("float32") / 255 for part in (x, x_test))

    model = build_model()
    optimizer = keras.optimizers.SGD(options.learning_rate, momentum=0.9)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = nfdt.distribute(model, optimizer, loss, metrics=["accuracy"])

    callbacks = []
    if options.history:
        callbacks.append(keras.callbacks.CSVLogger(options.history))
    started_s = time.perf_counter()
    model.fit(
        x,
        y,
        batch_size=options.batch_size,
        epochs=options.epochs,
        validation_data=(x_test, y_test),
        callbacks=callbacks,
        verbose=2,
    )
    taken_s = time.perf_counter() - started_s

    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    rate = options.epochs * len(x) / taken_s
    time_taken = f"{options.epochs} epochs in {taken_s:.1f} s, {rate:.0f} images/s"
    if nfdt.rank() == 0:
        print(f"test accuracy {accuracy:.4f}, {time_taken}")


def parse_options() -> Options:
    """Reads the command line, which has an option for each field."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for field in dataclasses.fields(Options):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=type(field.default), default=field.default)
    return Options(**vars(parser.parse_args()))


if __name__ == "__main__":
    main(parse_options())
