import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from fdtcore.glue.plain_values import NotPlain, Packer, unpack


def again(value, before=None):
    arrays = {}
    said = json.dumps(Packer(arrays, "a.").pack(value))
    return unpack(json.loads(said), arrays, before)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, -0.1, float("inf"), "é", b"".decode()),
        *([1, [2.5, "x"]], (1, (2,)), {3, 4}, {"a": {1: (2, None)}, (1, 2): []}),
        *(keras.ops.less, keras.ops.greater),
    ],
)
def test_plain_values_come_back(value):
    found = again(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value", [np.float32(0.1), np.arange(6.0).reshape(2, 3), np.bool_(True)]
)
def test_arrays_and_scalars_come_back_in_their_type(value):
    found = again({"x": [value]})["x"][0]
    assert type(found) is type(value)
    np.testing.assert_array_equal(found, value, strict=True)


def test_a_tensor_comes_back_as_an_array():
    np.testing.assert_array_equal(again(tf.constant([1, 2])), [1, 2])


def test_a_list_and_a_dictionary_are_filled_where_they_are():
    held, named = [9], {"old": 1}
    assert again([1, 2], held) is held
    assert again({"new": 2}, named) is named
    assert (held, named) == ([1, 2], {"new": 2})


def within_itself():
    found = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "value",
    [
        *(object(), print, lambda: 0, [open], np.array(["a"]), np.array([None])),
        *(keras.Variable(1.0), keras.ops.add, within_itself(), complex(1)),
    ],
)
def test_anything_else_is_not_kept(value):
    with pytest.raises(NotPlain):
        again(value)
