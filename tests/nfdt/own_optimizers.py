"""Optimizers of a user's own, in a module that a server can import."""

import keras


class Halved(keras.optimizers.SGD):
    """Makes half a step."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate / 2)


class Broken(keras.optimizers.SGD):
    """Fails at its first step, which is the server's."""

    def update_step(self, *args):
        raise RuntimeError("no such slot: 7")
