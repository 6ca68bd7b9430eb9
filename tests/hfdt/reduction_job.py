"""Run by ``mpirun`` on two ranks: every way gradients become one, beside NumPy.

Prints nothing and exits 0 when all hold; an assertion names what does not.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

import hfdt
from hfdt import gradients, runtime
from hfdt.communicator import HorovodCommunicator
from hfdt.operations import ObservedCommunicator
from hfdt.options import Options

hfdt.init()
RANK, SIZE = hfdt.rank(), hfdt.size()
RANKS = HorovodCommunicator(RANK, SIZE)
RNG = np.random.default_rng(0)
ALL = RNG.normal(size=(SIZE, 37, 5)).astype("float32")  # the gradient of each rank
SHARES = np.array([0.25, 0.75], "float32")


def reduced(options, gradient, variable, name, share=None):
    optimizer = keras.optimizers.SGD()
    reduction = gradients.Reduction(RANKS, options)
    share = tf.constant(SHARES[RANK] if share is None else share)
    result = reduction(optimizer, [gradient, None], [variable, variable], share, name)
    assert result.gradients[1] is None
    return result.gradients[0]


def mean_is_weighted_by_shares():
    variable = keras.Variable(np.zeros((37, 5), "float32"))
    found = reduced(Options(), tf.constant(ALL[RANK]), variable, "mean")
    np.testing.assert_allclose(
        found, np.tensordot(SHARES, ALL, 1), rtol=1e-6, atol=1e-7
    )


def wire_types_round_twice():
    variable = keras.Variable(np.zeros((37, 5), "float32"))
    for wire, relative in (("fp16", 2**-10), ("bf16", 2**-7)):
        options = Options(compression=wire)
        found = reduced(options, tf.constant(ALL[RANK]), variable, wire).numpy()
        exact = np.tensordot(SHARES, ALL, 1)
        scale = np.tensordot(SHARES, np.abs(ALL), 1)
        assert np.all(np.abs(found - exact) <= relative * scale + 1e-7), wire
        assert np.any(found != exact.astype("float32")), f"{wire} was not used"


def buckets_give_the_same_sums():
    shapes = [(7, 5), (300,), (3,), (40, 10), ()]
    types = ["float32", "float32", "float64", "float16", "float32"]
    drawn = [np.random.default_rng(1).normal(size=(SIZE, *s))[RANK] for s in shapes]
    own = [tf.constant(d, t) for d, t in zip(drawn, types, strict=True)]
    variables = [keras.Variable(np.zeros(s), dtype=t) for s, t in zip(shapes, types)]
    seen = []
    observed = ObservedCommunicator(RANKS, [seen.append])
    optimizer = keras.optimizers.SGD()

    def sums(num_bytes):
        reduction = gradients.Reduction(observed, Options(bucket_bytes=num_bytes))
        name, share = f"buckets.{num_bytes}", tf.constant(SHARES[RANK])
        return reduction(optimizer, own, variables, share, name).gradients

    expected = [one.numpy() for one in sums(0)]
    # One operation for each type in a bucket, eagerly and in a graph.
    for num_bytes, operations in ((0, 3), (1, 5), (1000, 4)):
        for call in (sums, tf.function(sums)):
            seen.clear()
            for one, other in zip(call(num_bytes), expected, strict=True):
                np.testing.assert_array_equal(one, other)
            assert len(seen) == operations, (num_bytes, seen)


def a_rank_without_samples_may_hold_nan():
    variable = keras.Variable(np.zeros((37, 5), "float32"))
    own = ALL[RANK] if RANK == 0 else np.full_like(ALL[RANK], np.nan)
    found = reduced(Options(), tf.constant(own), variable, "nan", [1.0, 0.0][RANK])
    np.testing.assert_array_equal(found, ALL[0])


def duplicate_rows_are_merged():
    table = keras.Variable(np.zeros((6, 2), "float32"))
    rows = np.array([[0, 3, 0], [3, 5, 5]][RANK])
    values = np.arange(6, dtype="float32").reshape(3, 2) + 1 + RANK
    slices = tf.IndexedSlices(tf.constant(values), tf.constant(rows), (6, 2))
    found = reduced(Options(), slices, table, "rows")
    assert isinstance(found, tf.IndexedSlices)
    assert sorted(found.indices.numpy()) == [0, 3, 5]
    dense = np.zeros((6, 2), "float32")
    for rank, ids in enumerate([[0, 3, 0], [3, 5, 5]]):
        for i, row in enumerate(ids):
            value = np.arange(6).reshape(3, 2)[i] + 1 + rank
            dense[row] += SHARES[rank] * value
    np.testing.assert_allclose(tf.convert_to_tensor(found), dense, rtol=1e-6)


def adasum_of_equal_gradients_is_the_gradient():
    variable = keras.Variable(np.zeros((37, 5), "float32"))
    same = reduced(Options(op="adasum"), tf.constant(ALL[0]), variable, "adasum.same")
    np.testing.assert_allclose(same, ALL[0], rtol=1e-5)
    # Orthogonal gradients add up.
    axis = np.zeros((37, 5), "float32")
    axis[RANK] = 1
    apart = reduced(Options(op="adasum"), tf.constant(axis), variable, "adasum.apart")
    np.testing.assert_allclose(apart.numpy().sum(), SIZE * 5, rtol=1e-5)


def other_types_keep_theirs():
    for dtype in ("float64", "float16", "bfloat16"):
        variable = keras.Variable(np.zeros(3), dtype=dtype)
        own = tf.cast([1.0, 2.0, 4.0], dtype)
        found = reduced(Options(), own, variable, dtype, 0.5)
        assert found.dtype == own.dtype
        np.testing.assert_array_equal(tf.cast(found, "float32"), [1, 2, 4])


def whole_numbers_are_refused():
    variable = keras.Variable(np.zeros(3), dtype="int32")
    try:
        reduced(Options(), tf.constant([1, 2, 3]), variable, "int")
    except TypeError as error:
        assert "floating" in str(error) and "int32" in str(error)
    else:
        raise AssertionError("an integer gradient was taken")


def operations_for_loops_of_the_user():
    own = tf.constant([[float(RANK)]])
    assert float(hfdt.allreduce(own)[0, 0]) == 0.5
    assert float(hfdt.allreduce(own, op="sum")[0, 0]) == 1.0
    assert float(hfdt.broadcast(own, root_rank=1)[0, 0]) == 1.0
    assert hfdt.allgather(own).numpy().tolist() == [[0.0], [1.0]]
    hfdt.barrier()
    batches = tf.data.Dataset.range(7).batch(5)
    parts = [b.numpy().tolist() for b in hfdt.shard(batches)]
    assert parts == [[[0, 1, 2], [5]], [[3, 4], [6]]][RANK]


def process_sets_train_apart():
    engine = runtime.engine()
    engine.choose(Options(process_sets=((0,), (1,))))
    assert (hfdt.rank(), hfdt.size()) == (0, 1)
    assert float(hfdt.allreduce(tf.constant(float(RANK)))) == RANK
    try:
        engine.choose(Options())
    except ValueError as error:
        assert "one set of options" in str(error)
    else:
        raise AssertionError("two sets of options were taken")


for check in (
    mean_is_weighted_by_shares,
    wire_types_round_twice,
    buckets_give_the_same_sums,
    a_rank_without_samples_may_hold_nan,
    duplicate_rows_are_merged,
    adasum_of_equal_gradients_is_the_gradient,
    other_types_keep_theirs,
    whole_numbers_are_refused,
    operations_for_loops_of_the_user,
    process_sets_train_apart,
):
    check()
