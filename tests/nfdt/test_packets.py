"""Descriptions and lists: round trips, and what is refused."""

import numpy as np
import pytest

from nfdt.protocol import serialization

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
