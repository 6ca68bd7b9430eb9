"""The state of layers that a worker brings to a meeting, of real models."""

import types

import keras
import numpy as np

from fdtcore.process import Process
from nfdt.glue.layer_state import LayerState


class Collectives:
    """Those of two workers, of which the other one has trained on nothing."""

    process = Process(0, 2)

    def __init__(self):
        self.brought = None

    def gather(self, value, name):
        del name
        self.brought = value
        return [value, [0, 0, value[2]]]


def test_a_model_that_the_first_step_builds_brings_what_its_layers_keep():
    collectives = Collectives()
    layers = LayerState(collectives, types.SimpleNamespace(taken=2))
    model = keras.Sequential([keras.layers.BatchNormalization()])
    layers.begin(model)  # an epoch begins, and nothing is built
    model.build((None, 3))
    layers.see(model)
    mean = model.layers[0].moving_mean
    mean.assign(np.full(3, 0.5))
    layers.stepped(model, lambda: 1)
    mean.assign(np.full(3, 0.75))
    layers.meet(model)
    _, num_steps, own = collectives.brought
    assert num_steps == 2
    changed = [(f.tolist(), a.tolist()) for f, a in own if f is not None]
    assert changed == [([0.5] * 3, [0.75] * 3)]
