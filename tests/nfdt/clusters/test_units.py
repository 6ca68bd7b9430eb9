"""Bandwidths, counts and facts as a cluster's file has them."""

import doctest

import numpy as np
import pytest

from nfdt.clusters import units


def test_the_examples_of_its_documents_hold():
    found = doctest.testmod(units)
    assert found.attempted and not found.failed


@pytest.mark.parametrize(
    ("text", "value"),
    [("1Gbit/s", 1.25e8), ("100MB/s", 1e8), ("8kbit/s", 1e3), ("5B/s", 5), ("7", 7)],
)
def test_bandwidths(text, value):
    assert units.read_bytes_per_s(text) == value


# Each: what reads, what it is given, what it says.
REFUSALS = {
    "bandwidth": (units.read_bytes_per_s, "1Gbit", "units B/s, kB/s, MB/s"),
    "no bandwidth": (units.read_bytes_per_s, "fast", "be a bandwidth"),
    "count": (units.read_count, "0", "integer >= 1. Received: 0. Write 1 or"),
    "half": (units.read_count, "1.5", "integer >= 1. Received: 1.5"),
    "index": (units.read_index, "-1", "integer >= 0. Received: -1"),
    "true": (units.read_true, "no", "only be true. Received: no. Omit the line"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused(case):
    read, text, message = REFUSALS[case]
    with pytest.raises(ValueError) as found:
        read(text)
    assert message in str(found.value)


@pytest.mark.parametrize("text", ["1", "true", "Yes", "on"])
def test_facts(text):
    units.read_true(text)


def test_what_is_written_is_read_as_the_same():
    random = np.random.default_rng(0)
    for exponent in random.uniform(-9, 12, 300):
        value = float(10**exponent)
        written = units.write_bytes_per_s(value)
        assert units.read_bytes_per_s(written) == value
