"""Gradients as one vector, and back."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hfdt.vectors import buckets, made_order, vectors

SHAPES = [(3,), (4, 16), (), (5, 7), (32,)]


def tensors(dtype="float32"):
    draws = np.random.default_rng(0)
    return [tf.constant(draws.normal(size=shape), dtype) for shape in SHAPES]


@pytest.mark.parametrize("is_static", [True, False])
def test_a_vector_comes_apart_into_what_was_joined(is_static):
    given = tensors()

    @tf.function(
        input_signature=[tf.TensorSpec(s if is_static else None) for s in SHAPES]
    )
    def there_and_back(*given):
        (vector,) = vectors(given)
        pieces = vector.pieces(2 * vector.values, given)
        return [pieces[i] for i in range(len(given))]

    for one, piece in zip(given, there_and_back(*given), strict=True):
        np.testing.assert_array_equal(2 * one, piece)


def test_each_type_has_a_vector():
    given = [*tensors(), *tensors("float16")]
    wide, narrow = vectors(given)
    assert (wide.values.dtype, narrow.values.dtype) == (tf.float32, tf.float16)
    assert sorted(wide.places + narrow.places) == list(range(len(given)))


def test_what_is_aligned_comes_first():
    (vector,) = vectors(tensors())
    assert vector.places == [1, 4, 0, 2, 3]


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (0, [[0, 1, 3, 4]]),
        (1, [[4], [3], [1], [0]]),
        (400, [[3, 4], [1], [0]]),
        (401, [[1, 3, 4], [0]]),
        (10**9, [[0, 1, 3, 4]]),
    ],
)
def test_the_first_tensors_are_in_the_first_bucket(num_bytes, expected):
    given = [tf.zeros(n) for n in (10, 200, 7, 90, 10)]
    assert buckets([4, 3, 1, 0], given, num_bytes) == expected


def test_no_bucket_for_no_tensors():
    assert buckets([], [], 0) == buckets([], [], 100) == []


def test_a_tensor_of_unknown_size_ends_a_bucket():
    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([3])])
    def traced(one, two):
        found.append(buckets([2, 1, 0], [two, one, two], 100))
        return one

    found = []
    traced(tf.zeros(5), tf.zeros(3))
    assert found == [[[1, 2], [0]]]


def test_no_tensors_no_vector():
    assert vectors([]) == []


def order_of(make_gradients):
    """Returns the order that a graph gives to what is made in it."""
    found = []

    @tf.function
    def traced():
        gradients = make_gradients()
        found.append(made_order(range(len(gradients)), gradients))
        return gradients

    traced()
    return found[0]


def gradients_of_a_branch():
    """Returns gradients of variables that were not made in the order of their use."""
    used_last, used_first, used_second = (tf.ones([4, 4]) * (1 + i) for i in range(3))
    with tf.GradientTape() as tape:
        tape.watch([used_last, used_first, used_second])
        hidden = tf.tanh(tf.tanh(used_first) @ used_second)
        loss = tf.reduce_sum(hidden @ used_last)
    return tape.gradient(loss, [used_last, used_first, used_second])


def test_gradients_leave_in_the_order_of_the_backward_pass():
    assert order_of(gradients_of_a_branch) == [0, 2, 1]


def test_gradients_that_were_worked_on_leave_backwards():
    assert order_of(lambda: [2 * g for g in gradients_of_a_branch()]) == [2, 1, 0]


def test_without_a_graph_gradients_leave_backwards():
    assert made_order([0, 1, 2], gradients_of_a_branch()) == [2, 1, 0]
    assert made_order([], []) == []


def test_gradients_of_an_outer_graph_leave_backwards():
    found = []

    def inner(given):
        found.append(made_order(range(len(given)), given))
        return given

    def with_a_branch():
        given = gradients_of_a_branch()
        return tf.cond(given[0][0, 0] > 0, lambda: inner(given), lambda: given)

    order_of(with_a_branch)
    assert found == [[2, 1, 0]]
