"""The server's own SGD is Keras's, to the bit; and a group of variables is a vector."""

import numpy as np
import pytest

from nfdt.protocol.controllers import Asynchronous
from nfdt.protocol.shard_server import ShardServer
from nfdt.resolution import plain_sgd
from nfdt.rules.corrections import NoCorrection
from nfdt.rules.updates import BlockUpdate
from tests.nfdt.rules import push

keras = pytest.importorskip("keras")
STEPS = 40
SHAPES = [(13, 7), (7,), (3, 2)]


def optimizer(momentum, nesterov):
    return keras.optimizers.SGD(0.07, momentum=momentum, nesterov=nesterov)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True), (0.3, True)]
)
def test_sgd_is_that_of_keras_to_the_bit(momentum, nesterov, dtype):
    generator = np.random.default_rng(0)
    theirs = optimizer(momentum, nesterov)
    variables = [
        keras.Variable(generator.normal(size=shape).astype(dtype), dtype=dtype)
        for shape in SHAPES
    ]
    params = np.concatenate([v.numpy().reshape(-1) for v in variables])
    ours = plain_sgd(keras.optimizers.serialize(theirs))
    rate = float(theirs.learning_rate)  # as a worker says it
    update = BlockUpdate(NoCorrection(), ours, params, 1)
    made = ShardServer(params, update, Asynchronous(), 1, rate)
    for _ in range(STEPS):
        gradients = [generator.normal(size=s).astype(dtype) for s in SHAPES]
        theirs.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        push(made, 0, np.concatenate([g.reshape(-1) for g in gradients]))
    expected = np.concatenate([v.numpy().reshape(-1) for v in variables])
    np.testing.assert_array_equal(made.params, expected)


def test_the_rate_of_keras_is_a_float32():
    """So the server must be told it, and not read it from the configuration."""
    theirs = optimizer(0.0, False)
    assert float(theirs.learning_rate) == float(np.float32(0.07)) != 0.07
