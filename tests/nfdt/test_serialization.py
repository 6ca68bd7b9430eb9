"""States and messages as bytes: round trips, and what is refused."""

import ml_dtypes
import numpy as np
import pytest

from nfdt.protocol import serialization


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, np.int64, ml_dtypes.bfloat16]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_arrays_come_back_to_the_bit(shape, dtype):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    found = serialization.load(serialization.dump({"a": array}))["a"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    found[...] = 1  # it is the reader's own


def test_numbers_come_back_to_the_bit():
    value = {"list": [1, 0.1, 1e-310, None, True, "text"], "nested": {"x": [[2]]}}
    assert serialization.load(serialization.dump(value)) == value


def test_sequences_come_back_as_lists():
    assert serialization.load(serialization.dump((1, (2.5,)))) == [1, [2.5]]


def test_numpy_scalars_are_numbers():
    assert serialization.load(serialization.dump([np.float32(0.5), np.int64(3)])) == [
        0.5,
        3,
    ]


def test_strided_arrays():
    array = np.arange(12.0).reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(serialization.load(serialization.dump(array)), array)


GOOD = serialization.dump({"a": np.arange(5.0)})


@pytest.mark.parametrize(
    "data",
    [b"", b"nothing", GOOD[: len(GOOD) // 2], GOOD[:-30], b"PK\3\4" + b"\0" * 30],
)
def test_what_is_no_state(data):
    with pytest.raises(ValueError):
        serialization.load(data)


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, structure=np.array([{"a": 1}], object))
    with pytest.raises(ValueError):
        serialization.load(path.read_bytes())


DESCRIPTION = {"dtype": "float32", "variables": [["dense/kernel", [3, 2]]], "x": None}


def test_a_description_comes_back_with_its_vector():
    vector = np.arange(4, dtype=np.float32)
    found, rest = serialization.unpack(serialization.pack(DESCRIPTION, vector))
    assert found == DESCRIPTION
    np.testing.assert_array_equal(np.frombuffer(rest, np.float32), vector)


def test_a_description_alone():
    found, rest = serialization.unpack(serialization.pack(DESCRIPTION))
    assert (found, bytes(rest)) == (DESCRIPTION, b"")


@pytest.mark.parametrize("items", [[], [b""], [b"a", b"", b"\0" * 9]])
def test_a_list_comes_back(items):
    assert serialization.unpack_list(serialization.pack_list(items)) == items


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1\0\0",
        (-8).to_bytes(8, "little", signed=True),
        (9).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{,",
        (2).to_bytes(8, "little") + b"\xff\xff",
    ],
)
def test_what_is_no_description(data):
    with pytest.raises(ValueError):
        serialization.unpack(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\1",
        (-8).to_bytes(8, "little", signed=True),
        (1).to_bytes(8, "little"),
        serialization.pack_list([b"abc"])[:-1],
        serialization.pack_list([b"abc"]) + b"\0",
    ],
)
def test_what_is_no_list(data):
    with pytest.raises(ValueError):
        serialization.unpack_list(data)
