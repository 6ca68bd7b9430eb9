"""Switches, integers, numbers and times as people write them."""

import doctest

import numpy as np
import pytest

from fdtcore import text_values


def test_the_examples_of_its_documents_hold():
    found = doctest.testmod(text_values)
    assert found.attempted and not found.failed


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "yes", "On", " 1 "])
def test_switches_that_are_on(text):
    assert text_values.read_bool(text) is True


@pytest.mark.parametrize("text", ["0", "false", "False", "no", "OFF"])
def test_switches_that_are_off(text):
    assert text_values.read_bool(text) is False


@pytest.mark.parametrize(
    ("text", "value_s"),
    [
        *(("20ms", 0.02), ("1.5 s", 1.5), ("2min", 120), ("50us", 5e-5), ("1h", 3600)),
        *(("3", 3), (" .5 ", 0.5), ("1e-3", 1e-3), ("-2s", -2), ("0ms", 0)),
    ],
)
def test_times(text, value_s):
    assert text_values.read_s(text) == value_s


# Each: what reads, what it is given, what it says.
REFUSALS = {
    "no switch": (
        text_values.read_bool,
        "maybe",
        "1, true, yes, on, or of 0, false, no, off. Received: maybe. Write 1 or 0",
    ),
    "nothing": (text_values.read_bool, "", "Received: . Write 1 or 0"),
    "no time": (text_values.read_s, "soon", "be a time. Received: soon. Write 20ms"),
    "unit of time": (text_values.read_s, "3 days", "us, ms, s, min, h. Received: 3"),
    "word": (text_values.read_s, "x1s", "this must be a time. Received: x1s"),
    "capital": (text_values.read_s, "3S", "one of the units us, ms"),
    "sixties": (text_values.read_s, "1:30", "min, h. Received: 1:30"),
    "for ever": (text_values.read_s, "inf", "this must be a time. Received: inf"),
    "number": (text_values.read_number, "4x", "must have no unit. Received: 4x"),
    "not a number": (text_values.read_number, "nan", "be a number. Received: nan"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused(case):
    read, text, message = REFUSALS[case]
    with pytest.raises(ValueError) as found:
        read(text)
    assert message in str(found.value)


@pytest.mark.parametrize("text", ["1", "1.5", "²", "-3", ""])
def test_integers_that_are_refused(text):
    with pytest.raises(ValueError, match=rf"integer >= 2\. Received: {text}\. Write 2"):
        text_values.read_integer(text, 2)


def test_what_is_written_is_read_as_the_same():
    random = np.random.default_rng(0)
    for exponent in random.uniform(-9, 12, 300):
        value = float(10**exponent)
        assert text_values.read_s(text_values.write_s(value)) == value
        assert text_values.read_number(text_values.write_number(value)) == value
        assert "e" not in text_values.write_number(value)
