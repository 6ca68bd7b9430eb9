"""What is a number, and how the refusal of an option reads."""

import pytest

from fdtcore.validation import demand, is_number


def test_a_refusal_names_rule_value_and_way_out():
    with pytest.raises(ValueError) as caught:
        demand(False, "a must be below b", "Raise b.", a=3, b="x")
    assert str(caught.value) == "a must be below b. Received: a=3, b='x'. Raise b."


def test_what_holds_is_not_refused():
    demand(True, "a must be", "Do.", a=1)


@pytest.mark.parametrize("value", [0, 0.5, 1e300])
def test_numbers(value):
    assert is_number(value, at_least=0)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "1", None])
def test_no_numbers(value):
    assert not is_number(value, at_least=0)


def test_the_upper_bound_is_excluded():
    assert is_number(0.99, below=1)
    assert not is_number(1, below=1)
