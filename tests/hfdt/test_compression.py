"""What compression of gradients refuses, and what it says of itself, on one rank."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from fdtcore.compression.specification import Specification
from fdtcore.glue import compression
from hfdt.communicator import HorovodCommunicator
from hfdt.compressed_sum import Saved, line
from hfdt.compression import Compression
from hfdt.options import Options
from hfdt.ring_bytes import ring_bytes

SGD = keras.optimizers.SGD


class OwnStep(SGD):
    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, learning_rate * gradient)


class Both(keras.optimizers.Optimizer):
    """Hands its gradients on to two others."""

    def __init__(self, *others):
        super().__init__(0.1)
        self.others = list(others)

    def apply(self, grads, trainable_variables=None):
        for one in self.others:
            one.apply(grads, trainable_variables)


# What is chosen, with which optimizer, and what the one line says.
REFUSALS = {
    "adam": ("dgc:0.01", lambda: keras.optimizers.Adam(), "Adam. Write topk:0.01."),
    "lion": ("dgc:0.001", lambda: keras.optimizers.Lion(), "Lion. Write topk:0.001."),
    "own step": ("dgc:0.01", OwnStep, "Received: OwnStep. Write topk"),
    "scaled adam": (
        "dgc:0.01",
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()),
        "Received: Adam. Write topk",
    ),
    "two": ("dgc:0.01", lambda: Both(SGD(), SGD()), "Received: SGD, SGD."),
    "deep values": ("dgc:0.01", lambda: SGD(clipvalue=0.5), "clipvalue=0.5 of SGD"),
    "values": ("topk:0.1", lambda: SGD(clipvalue=0.5), "or compression powersgd"),
    "two that clip": (
        "topk:0.1",
        lambda: Both(SGD(clipnorm=1.0), SGD()),
        "Received: a clipnorm of SGD",
    ),
    "two that clip globally": (
        "topk:0.1",
        lambda: Both(SGD(), SGD(global_clipnorm=1.0)),
        "Clip in one optimizer for all",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_trained_so_is_refused(case):
    text, make, expected = REFUSALS[case]
    with pytest.raises(ValueError, match=r"\.") as caught:
        compression.check(Specification.parse(text), make())
    assert expected.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "make"),
    [
        ("dgc:0.01", lambda: SGD(0.1, 0.9, nesterov=True, clipnorm=1.0)),
        ("dgc:0.01", lambda: keras.optimizers.LossScaleOptimizer(SGD())),
        ("topk:0.01", lambda: keras.optimizers.Adam(clipnorm=1.0)),
        ("topk:0.01", lambda: Both(SGD(), OwnStep())),
        ("sign", lambda: SGD(clipvalue=1.0)),
        ("powersgd:2", lambda: Both(SGD(clipnorm=1.0), SGD())),
    ],
)
def test_what_can_is_not(text, make):
    compression.check(Specification.parse(text), make())


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"compression": "topk"}, r"topk:RATIO, dgc:RATIO.*Received: compression"),
        ({"compression": "topk:2"}, r"Write topk:0\.01"),
        ({"compression": "gzip"}, r"must be one of none, fp16, bf16, topk"),
        ({"compression": "dgc:0.1,warmup=0steps"}, r"warmup=EPOCHS\|Nsteps"),
        ({"compression": "topk:0.1", "op": "adasum"}, r"adasum sends gradients"),
    ],
)
def test_options_that_say_nothing_are_refused(chosen, message):
    with pytest.raises(ValueError, match=message):
        Options(**chosen)


def reduced(said, chosen, optimizer, gradients, variables):
    made = Compression(Specification.parse(chosen), said.append)
    places, total = made.of(optimizer, variables, gradients)
    return places, total


def test_small_ones_vectors_rows_and_doubles_go_as_they_are():
    shapes = [(40, 40), (5, 5), (5000,), (40, 40), (100, 100)]
    variables = [keras.Variable(np.zeros(shape)) for shape in shapes]
    gradients = [tf.zeros(v.shape) for v in variables]
    gradients[3] = tf.zeros((40, 40), tf.float64)
    gradients[4] = tf.IndexedSlices(tf.zeros((2, 100)), tf.constant([3, 4]), (100, 100))
    said = []
    places, total = reduced(said, "topk:0.01", SGD(), gradients, variables)
    assert places == [0]
    assert total.compressor.layout.shapes == ((40, 40),)
    (text,) = said
    assert "1,600 elements of 1 of 5 gradients are compressed" in text
    assert reduced([], "topk:0.1", SGD(), gradients[1:], variables[1:]) == ([], None)


def test_a_momentum_that_moves_is_told():
    variable = keras.Variable(np.zeros((40, 40)))
    said = []
    reduced(said, "dgc:0.1", SGD(0.1, 0.9), [tf.zeros((40, 40))], [variable])
    assert "the momentum 0.9 of SGD acts before the exchange" in said[0]


def test_a_warm_up_of_epochs_needs_a_fit():
    variable = keras.Variable(np.zeros((40, 40)))
    gradient = tf.ones((40, 40))
    _, total = reduced([], "dgc:0.1", SGD(0.1, 0.9), [gradient], [variable])
    with pytest.raises(ValueError, match=r"dgc:0\.1,warmup=500steps"):
        total([gradient], None, HorovodCommunicator(0, 1), "x")


@pytest.mark.parametrize("norm", ["clipnorm", "global_clipnorm"])
def test_a_rank_clips_behind_what_the_loss_is_multiplied_by(norm):
    made = Compression(Specification.parse("topk:0.01"), lambda line: None)
    gradient = tf.ones((40, 40))
    for factor in (None, 8.0):
        optimizer = SGD(loss_scale_factor=factor, **{norm: 3.0})
        (found,) = made.clipped([(factor or 1.0) * gradient], optimizer, 4)
        length = tf.linalg.norm(found) / (factor or 1.0)
        np.testing.assert_allclose(length, 3.0 / 2, rtol=1e-6)


def test_half_types_are_summed_in_float32():
    variable = keras.Variable(np.zeros((40, 40)), dtype="float16")
    gradient = tf.cast(tf.reshape(tf.range(1600), (40, 40)), tf.float16)
    _, total = reduced([], "topk:0.01", SGD(), [gradient], [variable])
    (found,) = total([gradient], None, HorovodCommunicator(0, 1), "x")
    assert found.dtype == tf.float16
    assert np.count_nonzero(found) == 16
    assert total.compressor.state["residual"].dtype == np.float32


def test_what_is_kept_is_of_no_scale():
    variable = keras.Variable(np.zeros((40, 40)))
    one = HorovodCommunicator(0, 1)
    gradients = np.random.default_rng(0).normal(size=(3, 40, 40)).astype("float32")
    _, plain = reduced([], "topk:0.1", SGD(), [tf.constant(gradients[0])], [variable])
    _, scaled = reduced([], "topk:0.1", SGD(), [tf.constant(gradients[0])], [variable])
    for gradient, scale in zip(gradients, (4.0, 1024.0, 2.0), strict=True):
        (expected,) = plain([tf.constant(gradient)], None, one, "x")
        (found,) = scaled([tf.constant(scale * gradient)], tf.constant(scale), one, "x")
        np.testing.assert_array_equal(found / scale, expected)
    kept = [total.compressor.state["residual"] for total in (plain, scaled)]
    np.testing.assert_array_equal(*kept)


def test_the_first_steps_of_a_job_are_dense_and_not_those_after_a_resume():
    variable = keras.Variable(np.zeros((40, 40)))
    gradient, seen = tf.ones((40, 40)), []
    _, total = reduced([], "topk:0.1", SGD(), [gradient], [variable])
    compressor, inner = total.compressor, total.compressor.reduce

    def noted(*args, dense):
        seen.append(dense)
        return inner(*args, dense=dense)

    compressor.reduce = noted
    for steps in (0, 11, 12, 500):
        compressor.steps[...] = steps
        total([gradient], None, HorovodCommunicator(0, 1), "x")
    assert seen == [True, True, False, False]


@pytest.mark.parametrize(
    ("saved", "text"),
    [
        (Saved(10, 870, 0.031, 0.1), "sent 1/87 of the bytes of dense gradients; a "),
        (Saved(10, 870, 0.031, 0.1), "took 0.31 of a dense one (31 ms, 100 ms)."),
        (Saved(10, 870, 0.12, 0.1), "It does not pay here: leave --compression out."),
        (Saved(10, 20, math.nan, 0.1), "1/2 of the bytes of dense gradients; too few"),
        (Saved(10, 20, 0.1, math.nan), "too few steps to compare their times."),
    ],
)
def test_it_says_what_it_has_saved(saved, text):
    assert text in line(saved)


def test_bytes_of_a_ring():
    assert ring_bytes(100, 1) == 0
    assert ring_bytes(100, 4) == 150
