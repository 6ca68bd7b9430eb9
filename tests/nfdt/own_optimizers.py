"""Optimizers of a user's own, in a module that a server can import."""

import keras


class Halved(keras.optimizers.SGD):
    """Makes half a step."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate / 2)


@keras.saving.register_keras_serializable("tests")
class Registered(Halved):
    """Keras knows it by another name than its module's."""


class Scaled(keras.optimizers.SGD):
    """Says nothing of its factor where it is asked for its configuration."""

    def __init__(self, learning_rate=0.01, factor=2.0, **options):
        super().__init__(learning_rate, **options)
        self.factor = factor


class Broken(keras.optimizers.SGD):
    """Fails at its first step, which is the server's."""

    def update_step(self, *args):
        raise RuntimeError("no such slot: 7")
