"""Numbers, times and bandwidths as people write them."""

import doctest

import numpy as np
import pytest

from nfdt.clusters import units


def test_the_examples_of_its_documents_hold():
    found = doctest.testmod(units)
    assert found.attempted and not found.failed


@pytest.mark.parametrize(
    ("text", "value_s"),
    [
        *(("20ms", 0.02), ("1.5 s", 1.5), ("2min", 120), ("50us", 5e-5), ("1h", 3600)),
        *(("3", 3), (" .5 ", 0.5), ("1e-3", 1e-3), ("-2s", -2), ("0ms", 0)),
    ],
)
def test_times(text, value_s):
    assert units.read_s(text) == value_s


@pytest.mark.parametrize(
    ("text", "value"),
    [("1Gbit/s", 1.25e8), ("100MB/s", 1e8), ("8kbit/s", 1e3), ("5B/s", 5), ("7", 7)],
)
def test_bandwidths(text, value):
    assert units.read_bytes_per_s(text) == value


# Each: what reads, what it is given, what it says.
REFUSALS = {
    "no time": (units.read_s, "soon", "be a time. Received: soon. Write 20ms"),
    "unit of time": (
        units.read_s,
        "3 days",
        "us, ms, s, min, h. Received: 3",
    ),
    "word": (units.read_s, "x1s", "this must be a time. Received: x1s"),
    "capital": (units.read_s, "3S", "one of the units us, ms"),
    "sixties": (units.read_s, "1:30", "min, h. Received: 1:30"),
    "bandwidth": (units.read_bytes_per_s, "1Gbit", "units B/s, kB/s, MB/s"),
    "no bandwidth": (units.read_bytes_per_s, "fast", "be a bandwidth"),
    "number": (
        units.read_number,
        "4x",
        "must have no unit. Received: 4x",
    ),
    "not a number": (units.read_number, "nan", "be a number. Received: nan"),
    "count": (units.read_count, "0", "integer >= 1. Received: 0. Write 1 or"),
    "half": (units.read_count, "1.5", "integer >= 1. Received: 1.5"),
    "digits": (units.read_count, "²", "integer >= 1"),
    "index": (units.read_index, "-1", "integer >= 0. Received: -1"),
    "true": (units.read_true, "no", "only be true. Received: no. Omit the line"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused(case):
    read, text, message = REFUSALS[case]
    with pytest.raises(ValueError) as found:
        read(text)
    assert message in str(found.value)


def test_what_is_written_is_read_as_the_same():
    random = np.random.default_rng(0)
    for exponent in random.uniform(-9, 12, 300):
        value = float(10**exponent)
        assert units.read_s(units.write_s(value)) == value
        assert units.read_number(units.write_number(value)) == value
        written = units.write_bytes_per_s(value)
        assert units.read_bytes_per_s(written) == value
        assert "e" not in units.write_number(value)
