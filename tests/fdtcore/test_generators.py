"""A data set of what Python code yields is that of ``Dataset.from_generator``."""

import gc

import numpy as np
import pytest
import tensorflow as tf

from fdtcore.glue.arrays import untuned
from fdtcore.glue.generators import from_generator

Spec = tf.TensorSpec
Optional = tf.experimental.Optional


def ragged():
    return tf.ragged.constant([[1, 2], [3]])


def sparse():
    return tf.sparse.from_dense([[1, 0], [0, 2]])


# Name -> (elements, signature).
ELEMENTS = {
    "arrays of unequal length": (
        [np.ones((n, 3), np.float32) for n in (2, 0, 5)],
        Spec([None, 3], tf.float32),
    ),
    "numbers of other types": (
        [(np.ones((2, 3)), [1, 2], 3)] * 2,
        (Spec([None, 3], tf.float32), Spec([None], tf.int64), Spec([], tf.float32)),
    ),
    "text": (
        [["a", "é"], np.array(["x", "yyyy"]), np.array([b"a\0", b"b"], object)],
        Spec([None], tf.string),
    ),
    "one text": (["a", b"b"], Spec([], tf.string)),
    "unknown rank": ([np.ones((2, 3)), np.ones(2)], Spec(None, tf.float64)),
    "bfloat16": ([tf.ones(2, tf.bfloat16)], Spec([None], tf.bfloat16)),
    "nested": (
        [{"b": 1, "a": (2, 3)}],
        {"a": (Spec([], tf.int64), Spec([], tf.int64)), "b": Spec([], tf.int64)},
    ),
    "ragged": (
        [(ragged(), np.ones(2))],
        (tf.RaggedTensorSpec([None, None], tf.int32), Spec([None], tf.float32)),
    ),
    "sparse": (
        [{"s": sparse(), "a": np.ones(2)}],
        {
            "a": Spec([None], tf.float64),
            "s": tf.SparseTensorSpec([None, 2], tf.int32),
        },
    ),
    "what is not there": (
        [(Optional.empty(None), np.ones(2))],
        (tf.OptionalSpec(None), Spec([None], tf.float64)),
    ),
    "nothing at all": ([], Spec([2], tf.int64)),
    "nothing at all that is ragged": ([], tf.RaggedTensorSpec([None, None], tf.int32)),
}
# Name -> (elements, of which the last is wrong, and their signature).
WRONG = {
    "shape": ([np.ones((2, 3)), np.ones((2, 4))], Spec([None, 3], tf.float64)),
    "length": ([(1, 2), (1, 2, 3)], (Spec([], tf.int64), Spec([], tf.int64))),
    "keys": ([{"b": 1}], {"a": Spec([], tf.int64), "b": Spec([], tf.int64)}),
    "type": ([1, "a"], Spec([], tf.int64)),
    "type of values": ([sparse()], tf.SparseTensorSpec([None, 2], tf.int64)),
    "kind": ([np.ones((2, 2), np.int32)], tf.RaggedTensorSpec([None, None], tf.int32)),
}


def shown(value):
    if isinstance(value, tf.SparseTensor):
        return "sparse", tf.sparse.to_dense(value).numpy().tolist()
    if isinstance(value, tf.RaggedTensor):
        return "ragged", value.to_list()
    if isinstance(value, Optional):
        return bool(value.has_value())
    return value.dtype.name, np.asarray(value).tolist()


def all_shown(dataset):
    return [tf.nest.map_structure(shown, element) for element in dataset]


@pytest.mark.parametrize("name", ELEMENTS)
def test_elements_are_those_of_tensorflow(name):
    elements, signature = ELEMENTS[name]
    own = from_generator(lambda: elements, signature)
    theirs = tf.data.Dataset.from_generator(
        lambda: elements, output_signature=signature
    )
    assert own.element_spec == signature
    assert int(own.cardinality()) == tf.data.UNKNOWN_CARDINALITY
    assert all_shown(own) == all_shown(theirs)
    assert all_shown(own.prefetch(1).repeat(2)) == 2 * all_shown(theirs)


@pytest.mark.parametrize("name", WRONG)
def test_an_element_that_is_not_like_the_signature_is_refused(name):
    elements, signature = WRONG[name]
    read = iter(from_generator(lambda: elements, signature))
    for _ in elements[:-1]:
        next(read)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"TypeError: a batch must"
    ):
        next(read)


@pytest.mark.parametrize(
    "signature", [Spec([], tf.int64), tf.SparseTensorSpec([None, 2], tf.int32)]
)
def test_an_error_of_the_code_comes_after_what_it_has_yielded(signature):
    def elements():
        yield 1 if isinstance(signature, Spec) else sparse()
        raise KeyError("no such row")

    read = iter(from_generator(elements, signature))
    next(read)
    with pytest.raises(tf.errors.UnknownError, match="KeyError: 'no such row'"):
        next(read)


def test_a_pass_begins_with_its_first_element_and_ends_the_one_before():
    happened = []

    def elements():
        number = happened.count("begins")
        happened.append("begins")
        try:
            yield from [number] * 3
        finally:
            happened.append("ends")

    # Without autotuning TensorFlow reads nothing ahead.
    dataset = untuned(from_generator(elements, Spec([], tf.int64)))
    first = iter(dataset)
    assert happened == []
    assert int(next(first)) == 0
    second = iter(dataset)
    assert happened == ["begins"]
    assert int(next(second)) == 1
    gc.collect()
    assert happened == ["begins", "ends", "begins"]
    assert list(first) == []
    assert len(list(second)) == 2
