"""What a worker makes of the numbers that Keras keeps, and of memory."""

import math

import numpy as np
import pytest
import tensorflow as tf

from nfdt.glue.push_pull import _Loss, _sent
from nfdt.glue.variable_group import copied


def test_loss_of_a_batch_is_what_was_added_since_the_last():
    loss = _Loss()
    assert loss.of_batch(0, (6.0, 3.0)) == 2.0
    assert loss.of_batch(0, (16.0, 5.0)) == 5.0


def test_loss_begins_anew_with_an_epoch():
    loss = _Loss()
    loss.of_batch(0, (100.0, 10.0))
    assert loss.of_batch(1, (6.0, 3.0)) == 2.0


@pytest.mark.parametrize("totals", [(0.0, 0.0), (math.nan, math.nan)])
def test_loss_that_is_not_tracked_is_not_known(totals):
    assert math.isnan(_Loss().of_batch(0, totals))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_lie_where_tensorflow_takes_them_over(dtype):
    vector = np.arange(1001, dtype=dtype)
    for _ in range(8):
        found = copied(vector)
        assert found.ctypes.data % 64 == 0
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, vector)
        assert not np.shares_memory(found, vector)


def test_dense_gradients_are_sent_as_one_vector():
    first, second = tf.constant([[1.0, 2.0]]), tf.constant([3.0], tf.float16)
    kinds, (vector,) = _sent([first, second], "float32")
    assert (kinds, vector.dtype) == ([], tf.float32)
    np.testing.assert_array_equal(vector, [1, 2, 3])


def test_a_row_that_stands_twice_is_sent_once():
    table = tf.IndexedSlices(tf.ones([3, 2]), tf.constant([5, 1, 5]))
    kinds, sent = _sent([tf.constant([3.0]), table], "float32")
    assert kinds == [False, True]
    own, rows, indices = (one.numpy().tolist() for one in sent)
    assert (own, rows, indices) == ([3.0], [[2.0, 2.0], [1.0, 1.0]], [5, 1])
