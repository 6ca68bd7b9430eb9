"""The networks, in Keras. Their first values follow Keras's global seed.

None looks at the batch as a whole (no batch normalisation): what a worker finds depends
on its parameters and its samples alone, and the server's parameters are all there is to
evaluate.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import initializers, layers

from benchmarks.papers.images import CROP


def small(shape: tuple[int, ...], channels: tuple[int, ...]) -> keras.Model:
    """Makes strided convolutions, 64 hidden units, and nothing that mixes samples."""
    convolutions = [
        layers.Conv2D(count, 3, strides=2, padding="same", activation="relu")
        for count in channels
    ]
    return keras.Sequential(
        [
            keras.Input(shape),
            *convolutions,
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )


def residual() -> keras.Model:
    """Makes a small residual network with group normalisation, for 32 x 32 pixels.

    Source: He et al., "Deep Residual Learning", 2016, arXiv:1512.03385, sec. 4.2, with
    one block of each width; Wu & He, "Group Normalization", 2018, arXiv:1803.08494.
    """

    def convolved(x: Any, channels: int, edge: int, strides: int) -> Any:
        x = layers.Conv2D(
            *(channels, edge, strides),
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
        )(x)
        return layers.GroupNormalization(8)(x)

    def block(x: Any, channels: int, strides: int) -> Any:
        found = layers.ReLU()(convolved(x, channels, 3, strides))
        found = convolved(found, channels, 3, 1)
        if found.shape != x.shape:
            x = convolved(x, channels, 1, strides)
        return layers.ReLU()(layers.add([x, found]))

    pixels = keras.Input((32, 32, 3))
    x = layers.ReLU()(convolved(pixels, 16, 3, 2))
    for channels, strides in ((16, 2), (32, 2), (64, 1)):
        x = block(x, channels, strides)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, layers.Dense(10)(x))


def lenet5() -> keras.Model:
    """Makes LeNet-5 with rectifiers and maxima."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]
    )


def tan() -> keras.Model:
    """Makes the network of Tan's programs, after TensorFlow's CIFAR-10 tutorial."""

    def normalised() -> Any:
        return layers.Lambda(
            lambda x: tf.nn.local_response_normalization(x, 4, 1.0, 0.001 / 9, 0.75)
        )

    def convolution(bias: float) -> Any:
        return layers.Conv2D(
            64,
            5,
            padding="same",
            activation="relu",
            kernel_initializer=initializers.TruncatedNormal(stddev=0.05),
            bias_initializer=initializers.Constant(bias),
        )

    def hidden(units: int) -> Any:
        return layers.Dense(
            units,
            activation="relu",
            kernel_initializer=initializers.TruncatedNormal(stddev=0.04),
            bias_initializer=initializers.Constant(0.1),
        )

    return keras.Sequential(
        [
            keras.Input((CROP, CROP, 3)),
            convolution(0.0),
            layers.MaxPooling2D(3, 2, padding="same"),
            normalised(),
            convolution(0.1),
            normalised(),
            layers.MaxPooling2D(3, 2, padding="same"),
            layers.Flatten(),
            hidden(1024),
            hidden(1024),
            # As in the tutorial: one over the number of inputs.
            layers.Dense(
                10, kernel_initializer=initializers.TruncatedNormal(stddev=1 / 1024)
            ),
        ]
    )
