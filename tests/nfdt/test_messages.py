"""The header on the wire."""

import dataclasses
import math

import ml_dtypes
import numpy as np
import pytest

from nfdt.protocol.messages import HEADER_BYTES, Kind, Message, as_bytes, read_header

MESSAGE = Message(
    Kind.PUSH,
    3,
    group=1,
    clock=2**40,
    version=7,
    number=-1,
    epoch=5,
    parts=2,
    rate=0.1,
    loss=1e300,
    compute_s=0.25,
    exchange_s=1e-9,
    payload=np.ones(3, np.float32),
)


def test_a_header_comes_back_without_its_payload():
    data = MESSAGE.header()
    assert len(data) == HEADER_BYTES
    found, payload_bytes = read_header(data)
    assert found == dataclasses.replace(MESSAGE, payload=b"")
    assert payload_bytes == 12


def test_every_field_travels():
    fields = [f.name for f in dataclasses.fields(Message) if f.name != "payload"]
    for name in fields:
        value = {"kind": Kind.MEET, "rate": 3.5}.get(name, 9)
        changed = dataclasses.replace(MESSAGE, **{name: value})
        assert getattr(read_header(changed.header())[0], name) == value


def test_what_is_not_known_stays_unknown():
    found, payload_bytes = read_header(Message(Kind.BYE, 0).header())
    assert math.isnan(found.rate)
    assert math.isnan(found.loss)
    assert (found.number, payload_bytes) == (-1, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MESSAGE.header()[:-1],
        MESSAGE.header() + b"\0",
        (99).to_bytes(8, "little") + MESSAGE.header()[8:],
        MESSAGE.header()[:-8] + b"\xff" * 8,
    ],
)
def test_what_is_no_header(data):
    with pytest.raises(ValueError):
        read_header(data)


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.uint8]
)
@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3)])
def test_bytes_of_an_array_are_its_own(shape, dtype):
    array = np.zeros(shape, dtype)
    view = as_bytes(array)
    assert view.nbytes == array.nbytes
    view[:] = np.ones(shape, dtype).tobytes()
    np.testing.assert_array_equal(array, np.ones(shape, dtype))
    assert (
        read_header(Message(Kind.PARAMS, 0, payload=array).header())[1] == view.nbytes
    )


def test_bytes_of_bytes():
    assert bytes(as_bytes(b"abc")) == b"abc"
    assert as_bytes(b"").nbytes == 0
