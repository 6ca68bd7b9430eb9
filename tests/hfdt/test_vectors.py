"""Gradients as one vector, and back."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hfdt.vectors import vectors

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


def test_no_tensors_no_vector():
    assert vectors([]) == []
