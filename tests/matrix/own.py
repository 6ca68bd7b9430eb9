"""Optimizers of a user's own, in a module that a server can import."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops


class Signed(keras.optimizers.SGD):
    """Steps along the softened sign of the gradient."""

    def update_step(self, gradient, variable, learning_rate):
        gradient = tf.convert_to_tensor(gradient)  # of sparse rows it is none yet
        step = gradient / (ops.abs(gradient) + 0.1)
        super().update_step(step, variable, learning_rate)


class Normed(keras.optimizers.Optimizer):
    """Hands gradients on that all together have length 1."""

    def __init__(self, inner, name=None):
        super().__init__(learning_rate=0.0, name=name)
        self.inner = inner

    @property
    def learning_rate(self):
        return self.inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate):
        self.inner.learning_rate = rate

    @property
    def iterations(self):
        return self.inner.iterations

    @property
    def variables(self):
        return self._variables + self.inner.variables

    def build(self, variables):
        super().build(variables)
        self.inner.build(variables)

    def apply(self, grads, trainable_variables=None):
        length = ops.sqrt(sum(ops.sum(ops.square(g)) for g in grads) + 1e-12)
        self.inner.apply([g / length for g in grads], trainable_variables)

    def get_config(self):
        return {"inner": keras.optimizers.serialize(self.inner), "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(keras.optimizers.deserialize(config["inner"]), config["name"])
