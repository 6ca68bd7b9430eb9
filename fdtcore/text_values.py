"""Values as people write them: switches, integers, numbers, times.

Exact: a number is a decimal one until its unit has been applied, so that what
:func:`write_s` makes of a value is read back as the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off")

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*")
_SECONDS = {
    "us": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "min": Decimal(60),
    "h": Decimal(3600),
}


def read_bool(text: str) -> bool:
    """Returns what a switch says; capitals do not matter.

    >>> read_bool("yes"), read_bool("0"), read_bool("Off")
    (True, False, False)

    Raises:
        ValueError: The text is no word of a switch.
    """
    word = text.strip().lower()
    if word not in (*TRUE, *FALSE):
        raise ValueError(
            f"this must be one of {', '.join(TRUE)}, or of {', '.join(FALSE)}. "
            f"Received: {text}. Write 1 or 0."
        )
    return word in TRUE


def read_integer(text: str, at_least: int) -> int:
    """Returns an integer that is not too small.

    Args:
        text: Digits of the integer.
        at_least: The smallest one, >= 0.

    Raises:
        ValueError: The text is no integer, or a smaller one.
    """
    if not (text.isascii() and text.isdigit()) or int(text) < at_least:
        raise ValueError(
            f"this must be an integer >= {at_least}. Received: {text}. "
            f"Write {at_least} or more."
        )
    return int(text)


def read_number(text: str) -> float:
    """Returns a number without a unit.

    Raises:
        ValueError: The text is no number, or has a unit.
    """
    return read_quantity(text, {}, "a number", "0.6")


def read_s(text: str) -> float:
    """Returns a time in seconds; a number without a unit is one.

    >>> read_s("20ms"), read_s("1.5min"), read_s("2")
    (0.02, 90.0, 2.0)

    Raises:
        ValueError: The text is no time, or has another unit.
    """
    return read_quantity(text, _SECONDS, "a time", "20ms")


def write_number(value: float) -> str:
    """Returns a number as people write it.

    >>> write_number(4.0), write_number(0.6)
    ('4', '0.6')
    """
    return write_quantity(value, {"": Decimal(1)}, "")


def write_s(value_s: float) -> str:
    """Returns a time in the unit that suits it.

    >>> write_s(0.02), write_s(90.0), write_s(0.0)
    ('20ms', '90s', '0s')
    """
    unit = "s" if value_s >= 1 or not value_s else "ms" if value_s >= 1e-3 else "us"
    return write_quantity(value_s, _SECONDS, unit)


def read_quantity(
    text: str, units: Mapping[str, Decimal], what: str, example: str
) -> float:
    """Returns a number in the unit whose factor is 1.

    Args:
        text: The number, with a unit or without.
        units: Name of a unit -> its factor, as in ``{"s": 1, "min": 60}``.
        what: What errors call it, such as ``"a time"``.
        example: One that is well written.

    Raises:
        ValueError: The text is no number, or its unit is not among them.
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"this must be {what}. Received: {text}. Write {example}.")
    number, unit = found.groups()
    if unit and unit not in units:
        known = f"have one of the units {', '.join(units)}" if units else "have no unit"
        raise ValueError(f"{what} must {known}. Received: {text}. Write {example}.")
    return float(Decimal(number) * units.get(unit, Decimal(1)))


def write_quantity(value: float, units: Mapping[str, Decimal], unit: str) -> str:
    """Returns a number in one of the units.

    Args:
        value: It, in the unit whose factor is 1.
        units: Name of a unit -> its factor, as in ``{"s": 1, "min": 60}``.
        unit: The one to write it in.
    """
    # An exponent would be read back as well, but not by people.
    return f"{(Decimal(repr(value)) / units[unit]).normalize():f}{unit}"
