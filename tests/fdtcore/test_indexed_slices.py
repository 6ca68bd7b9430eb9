"""Sparse gradients, in which each row of a table stands once."""

import numpy as np
import tensorflow as tf

from fdtcore.glue import indexed_slices


def test_rows_of_one_index_are_added_up_and_come_in_the_order_of_their_first():
    values = tf.constant([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    shape = tf.constant([9, 2])
    found = indexed_slices.summed(tf.IndexedSlices(values, [7, 3, 7], shape))
    np.testing.assert_array_equal(found.indices, [7, 3])
    np.testing.assert_array_equal(found.values, [[101.0, 202.0], [10.0, 20.0]])
    assert found.dense_shape is shape
