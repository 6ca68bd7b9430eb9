"""The counts of optimizers that hand their steps on."""

import keras
import pytest
import tensorflow as tf

from nfdt.glue.optimizer_state import follow


@pytest.fixture
def multi():
    """A built ``MultiOptimizer`` of two, whose held optimizers have made 3 and 4."""
    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(1, name="head")(keras.layers.Dense(2)(inputs))
    model = keras.Model(inputs, outputs)
    known = keras.optimizers.OptimizerMap(
        keras.optimizers.SGD(), {"head/.*": keras.optimizers.Adam()}
    )
    made = keras.optimizers.MultiOptimizer(known)
    made.build(model.trainable_variables)
    for held, count in zip(made.optimizers, (3, 4), strict=True):
        held._iterations.assign(count)
    return made


def test_a_wrapper_counts_what_those_have_made_that_it_holds(multi):
    follow(multi)
    assert int(multi.iterations) == 4


def test_the_count_is_written_without_a_condition(multi):
    """TensorFlow 2.21.0 may reverse two writes where the later one has ``tf.where``.

    findings/where_with_true_write_order.sh shows it: in some processes the wrapper
    counted one more, for the whole training.
    """

    @tf.function
    def step():
        multi._iterations.assign_add(1)
        follow(multi)

    graph = step.get_concrete_function().graph
    assert not [op.name for op in graph.get_operations() if "Select" in op.type]
    step()
    assert int(multi.iterations) == 4
