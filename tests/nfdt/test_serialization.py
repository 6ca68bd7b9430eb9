"""States as bytes: what comes back, and what is refused."""

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
