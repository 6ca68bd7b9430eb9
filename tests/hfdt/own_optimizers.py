"""Optimizer classes of a user's own, in a module that a server can import too."""

from __future__ import annotations

import keras
import tensorflow as tf


class Signed(keras.optimizers.SGD):
    """Takes the sign of each gradient, which is not that of a sum of parts."""

    def apply(self, grads, trainable_variables=None):
        super().apply([tf.sign(g) for g in grads], trainable_variables)


class Parted(keras.optimizers.Optimizer):
    """Hands gradients on to one of two optimizers, by the variable's rank.

    Args:
        inner: ``"weights"`` and ``"biases"`` -> the optimizers.
    """

    def __init__(self, inner, name="parted"):
        super().__init__(learning_rate=0.0, name=name)
        self.inner = inner

    @property
    def variables(self):
        return [
            *self._variables,
            *(v for o in self.inner.values() for v in o.variables),
        ]

    def build(self, variables):
        for name, own in self._parted(variables, variables).items():
            self.inner[name].build([v for _, v in own])
        super().build(variables)

    def _parted(self, gradients, variables):
        parted = {"weights": [], "biases": []}
        for gradient, variable in zip(gradients, variables):
            which = "weights" if len(variable.shape) > 1 else "biases"
            parted[which].append((gradient, variable))
        return parted

    def apply(self, gradients, variables=None):
        if not self.built:
            self.build(variables)
        largest = [tf.reduce_max(tf.abs(g)) for g in gradients]
        scaled = [g / (1.0 + top) for g, top in zip(gradients, largest)]
        for name, pairs in self._parted(scaled, variables).items():
            self.inner[name].apply(*map(list, zip(*pairs)))
        self._iterations.assign_add(1)

    def get_config(self):
        return {"inner": self.inner, "name": self.name}


class Lookahead(keras.optimizers.Optimizer):
    """Draws the weights back to those of some steps ago.

    Args:
        inner: The optimizer that takes the steps.
    """

    def __init__(self, inner, every=3, name="lookahead"):
        super().__init__(learning_rate=0.0, name=name)
        self.inner, self.every = inner, every

    def build(self, variables):
        self.slow = self.add_optimizer_variables(variables, "slow")
        super().build(variables)

    def apply(self, grads, trainable_variables=None):
        if not self.built:
            self.build(trainable_variables)
        pairs = list(zip(self.slow, trainable_variables))
        kept = [tf.where(self._iterations == 0, v, slow) for slow, v in pairs]
        self.inner.apply(grads, trainable_variables)
        self._iterations.assign_add(1)
        is_time = self._iterations % self.every == 0
        for old, (slow, variable) in zip(kept, pairs):
            back = tf.where(is_time, (old + variable) / 2, variable)
            slow.assign(tf.where(is_time, back, old))
            variable.assign(back)
