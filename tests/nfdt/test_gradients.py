"""Gradients over the wire: any cut, any type; nothing malformed gets in."""

import itertools

import ml_dtypes
import numpy as np
import pytest

from nfdt.protocol.gradients import (
    WIRE_TYPES,
    Dense,
    Rows,
    pack_gradient,
    unpack_gradient,
)
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.topology import Range, split

SHAPES = [(3,), (10, 4), (2, 2), (6, 3)]
SIZE = sum(int(np.prod(shape)) for shape in SHAPES)


def gradients(generator, tables, dtype=np.float64):
    """Returns gradients of SHAPES, with rows for some, and the flat vector of all."""
    found, start, whole = [], 0, np.zeros(SIZE, dtype)
    for index, shape in enumerate(SHAPES):
        # Halves are exact in every type.
        values = generator.integers(-9, 9, size=shape).astype(dtype) / 2
        if index in tables:
            count = int(generator.integers(0, shape[0] + 1))
            rows = generator.choice(shape[0], size=count, replace=False)
            found.append(Rows(start, shape[1], rows, values[rows]))
            dense = np.zeros(shape, dtype)
            dense[rows] = values[rows]
        else:
            found.append(Dense(start, values.reshape(-1)))
            dense = values
        whole[start : start + dense.size] = dense.reshape(-1)
        start += dense.size
    return found, whole


def cuts(generator, num_servers):
    inner = np.sort(generator.integers(0, SIZE + 1, size=num_servers - 1))
    edges = [0, *(int(n) for n in inner), SIZE]
    return [Range(*pair) for pair in itertools.pairwise(edges)]


@pytest.mark.parametrize("wire", WIRE_TYPES)
@pytest.mark.parametrize("tables", [(), (1,), (1, 3)])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_sent_arrives_however_it_is_cut(seed, tables, wire):
    generator = np.random.default_rng(seed)
    sent, whole = gradients(generator, tables)
    for shards in (split(SIZE, 3), cuts(generator, 4)):
        received = []
        for shard in shards:
            parts, payload = pack_gradient(sent, shard, wire)
            header = Message(Kind.PUSH, 0, parts=parts, payload=payload).header()
            assert header  # it can be sent
            vector = np.full(shard.size, np.nan, np.float32)
            unpack_gradient(parts, bytes(memoryview(payload)), vector, wire)
            received.append(vector)
        np.testing.assert_array_equal(np.concatenate(received), whole)


def test_the_payload_is_the_senders_copy():
    values = np.ones(4, np.float32)
    _, payload = pack_gradient([Dense(0, values)], Range(0, 4), "float32")
    values[:] = 7
    vector = np.zeros(4, np.float32)
    unpack_gradient(0, payload, vector, "float32")
    np.testing.assert_array_equal(vector, np.ones(4))


def test_rows_that_are_not_of_one_table_are_refused():
    rows = Rows(1, 4, np.array([0, 2]), np.ones((2, 4), np.float32))
    _, payload = pack_gradient([rows], Range(0, 20), "float32")
    vector = np.zeros(20, np.float32)
    unpack_gradient(1, payload, vector, "float32")
    assert np.flatnonzero(vector).tolist() == [1, 2, 3, 4, 9, 10, 11, 12]
    moved = bytearray(payload)
    moved[24:32] = (10).to_bytes(8, "little")  # where the second row begins
    with pytest.raises(ValueError, match="those of one table"):
        unpack_gradient(1, bytes(moved), vector, "float32")


def test_rows_are_shorter_than_the_table():
    rows = Rows(0, 8, np.array([3, 900]), np.ones((2, 8), np.float32))
    _, payload = pack_gradient([rows], Range(0, 8000), "float32")
    assert len(payload) == 16 + 2 * 8 + 2 * 8 * 4


def test_a_shard_that_no_row_falls_into():
    rows = Rows(0, 2, np.array([0]), np.ones((1, 2), np.float32))
    parts, payload = pack_gradient([rows], Range(4, 8), "float32")
    vector = np.full(4, 5, np.float32)
    unpack_gradient(parts, payload, vector, "float32")
    np.testing.assert_array_equal(vector, np.zeros(4))


@pytest.mark.parametrize("wire", WIRE_TYPES)
def test_values_are_rounded_to_the_wire(wire):
    values = np.array([1 / 3, 1e-3], np.float64)
    _, payload = pack_gradient([Dense(0, values)], Range(0, 2), wire)
    vector = np.zeros(2)
    unpack_gradient(0, payload, vector, wire)
    np.testing.assert_array_equal(vector, values.astype(WIRE_TYPES[wire]))


def segment(count, row_size, starts, values):
    head = np.array([count, row_size, *starts], "<i8").tobytes()
    return head + np.array(values, np.float32).tobytes()


GOOD = segment(2, 2, [0, 4], [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("parts", "payload"),
    [
        (0, b""),
        (0, b"\0" * 4),  # one number would fill the vector
        (0, b"\0" * 23),
        (0, b"\0" * 28),
        (1, b""),
        (1, GOOD[:10]),
        (1, GOOD[:-1]),
        (1, GOOD + b"\0"),
        (2, GOOD),
        (1, segment(-1, 2, [], [])),
        (1, segment(1, -2, [0], [])),
        (1, segment(2**61, 2**61, [], [])),
        (1, segment(1, 2, [-1], [1, 2])),
        (1, segment(1, 2, [5], [1, 2])),
        (1, segment(2, 2, [0, 5], [1, 2, 3, 4])),
        (1, segment(1, 7, [0], range(7))),
    ],
)
def test_what_does_not_fit_is_refused(parts, payload):
    with pytest.raises(ValueError, match="shard"):
        unpack_gradient(parts, payload, np.zeros(6, np.float32), "float32")


def test_what_does_fit():
    vector = np.zeros(6, np.float32)
    unpack_gradient(1, GOOD, vector, "float32")
    np.testing.assert_array_equal(vector, [1, 2, 0, 0, 3, 4])


def test_wire_types_are_the_four():
    assert WIRE_TYPES["bfloat16"] == ml_dtypes.bfloat16
    assert sorted(WIRE_TYPES) == ["bfloat16", "float16", "float32", "float64"]
