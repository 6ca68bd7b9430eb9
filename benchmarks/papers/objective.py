"""A work's loss, gradient and accuracy as functions of one flat vector."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from benchmarks.papers import data
from benchmarks.papers.images import Images
from benchmarks.papers.works import WORKS
from nfdt.rules.corrections import Vector

_TEST_BATCH = 500


class Score(NamedTuple):
    """What a model is worth on the test set."""

    loss: float
    accuracy: float


class Objective:
    """The functions of one work, traced once and used by all runs of a process.

    Args:
        name: Of the work.
    """

    def __init__(self, name: str):
        self.work = WORKS[name]
        self.data = data.load(self.work.data)
        self._model = self.work.model()
        variables = self._model.trainable_variables
        self.shapes = [tuple(variable.shape) for variable in variables]
        self._hidden = [  # kernels of dense layers, without the last one
            index for index, shape in enumerate(self.shapes) if len(shape) == 2
        ][:-1]
        self._gradient = tf.function(self._loss_and_gradient, autograph=False)
        self._forward = tf.function(self._logits, autograph=False)

    def first(self, seed: int) -> Vector:
        """Returns first values, [P] float32, as a script with this seed has them."""
        import keras

        keras.utils.set_random_seed(seed)
        variables = self.work.model().trainable_variables
        return np.concatenate([v.numpy().reshape(-1) for v in variables])

    def gradient(
        self, params: Vector, x: Images, y: np.ndarray
    ) -> tuple[float, Vector]:
        """Returns the loss of a batch, and its gradient, [P]."""
        loss, gradient = self._gradient(params, x, y)
        return float(loss), gradient.numpy()

    def score(self, params: Vector) -> Score:
        """Returns the mean loss and the accuracy on the test set."""
        total, right = 0.0, 0
        classes = self.data.y_test
        for start in range(0, len(classes), _TEST_BATCH):
            part = slice(start, start + _TEST_BATCH)
            x = self.work.prepare(self.data.x_test[part], None)
            losses, found = self._forward(params, x, classes[part])
            total += float(tf.reduce_sum(losses))
            right += int(np.sum(found.numpy() == classes[part]))
        return Score(total / len(classes), right / len(classes))

    def _parts(self, params: tf.Tensor) -> Sequence[tf.Tensor]:
        sizes = [math.prod(shape) for shape in self.shapes]
        parts = zip(tf.split(params, sizes), self.shapes)
        return [tf.reshape(part, shape) for part, shape in parts]

    def _losses(
        self, parts: Sequence[tf.Tensor], x: Any, y: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        logits, _ = self._model.stateless_call(parts, [], x)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits), logits

    def _loss_and_gradient(
        self, params: Any, x: Any, y: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(params)
            parts = self._parts(params)
            loss = tf.reduce_mean(self._losses(parts, x, y)[0])
            squares = [tf.reduce_sum(parts[index] ** 2) for index in self._hidden]
            total = loss + self.work.decay * sum(squares)
        return loss, tape.gradient(total, params)

    def _logits(self, params: Any, x: Any, y: Any) -> tuple[tf.Tensor, tf.Tensor]:
        losses, logits = self._losses(self._parts(params), x, y)
        return losses, tf.argmax(logits, axis=1, output_type=tf.int32)


@functools.cache
def objective(name: str) -> Objective:
    """Returns the objective of a work, made once in a process."""
    return Objective(name)
