"""The models whose steps are measured, and data of their shape; all give ten classes.

The last five are of kinds that neither framework was tuned on. Their sizes and batches
are such that a step takes 40 to 100 ms on one core.
"""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from benchmarks.contenders import shared

CLASSES = 10
IMAGE = (28, 28, 1)
WORDS = 10_000  # in the vocabulary of the models that read tokens
TOKENS = 64  # of a sample of these
WIDTH = 128  # of a token's vector
SEQUENCE = (40, 32)  # steps and features of the recurrent model's samples


def _dense(units: Sequence[int]) -> keras.Model:
    hidden = [layers.Dense(count, "relu") for count in units]
    return keras.Sequential(
        [layers.Input(IMAGE), layers.Flatten(), *hidden, layers.Dense(CLASSES)]
    )


def _recurrent() -> keras.Model:
    return keras.Sequential(
        [layers.Input(SEQUENCE), layers.LSTM(WIDTH), layers.Dense(CLASSES)]
    )


def _tokens() -> keras.KerasTensor:
    return layers.Input((TOKENS,), dtype="int32")


def _embedding() -> keras.Model:
    tokens = _tokens()
    x = layers.Embedding(WORDS, WIDTH)(tokens)
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dense(512, "relu")(x)
    return keras.Model(tokens, layers.Dense(CLASSES)(x))


def _transformer(blocks: int = 2, heads: int = 4) -> keras.Model:
    tokens = _tokens()
    x = layers.Embedding(WORDS, WIDTH)(tokens)
    for _ in range(blocks):
        attention = layers.MultiHeadAttention(heads, WIDTH // heads)
        x = layers.LayerNormalization()(x + attention(x, x))
        hidden = layers.Dense(2 * WIDTH, "relu")(x)
        x = layers.LayerNormalization()(x + layers.Dense(WIDTH)(hidden))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, layers.Dense(CLASSES)(x))


def _residual(blocks: int = 3, filters: int = 32) -> keras.Model:
    images = layers.Input(IMAGE)
    x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(images)
    for _ in range(blocks):
        hidden = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        hidden = layers.ReLU()(layers.BatchNormalization()(hidden))
        hidden = layers.Conv2D(filters, 3, padding="same", use_bias=False)(hidden)
        x = layers.ReLU()(x + layers.BatchNormalization()(hidden))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(CLASSES)(x))


NETWORKS: Mapping[str, Callable[[], keras.Model]] = {
    "deep": lambda: _dense([64] * 10),
    "dense": lambda: _dense([1024]),
    "cnn": lambda: shared.build_model("cnn"),
    "mlp": lambda: _dense([2048, 2048, 1024]),
    "recurrent": _recurrent,
    "embedding": _embedding,
    "transformer": _transformer,
    "residual": _residual,
    "wide": lambda: _dense([2048, 1024]),
}


def samples(model: keras.Model, count: int) -> tuple[npt.NDArray, npt.NDArray]:
    """Return random inputs of a model and labels.

    Args:
        model: Whose.
        count: How many.

    Returns:
        Inputs [count, *shape] of the model's type, labels [count] int64.
    """
    generator = np.random.default_rng(0)
    shape = (count, *model.input_shape[1:])
    labels = generator.integers(0, CLASSES, count)
    if model.inputs[0].dtype == "int32":
        return generator.integers(0, WORDS, shape, np.int32), labels
    return generator.random(shape, np.float32), labels
