"""Numbers, times and bandwidths as people write them: ``20ms``, ``1Gbit/s``.

Exact: a number is a decimal one until its unit has been applied, so that what
:func:`write_s` and :func:`write_bytes_per_s` make of a value is read back as the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*")
_SECONDS = {
    "us": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "min": Decimal(60),
    "h": Decimal(3600),
}
_PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_BYTES_PER_S = {
    **{f"{prefix}B/s": Decimal(factor) for prefix, factor in _PREFIXES.items()},
    **{f"{prefix}bit/s": Decimal(factor) / 8 for prefix, factor in _PREFIXES.items()},
}


def read_number(text: str) -> float:
    """Returns a number without a unit.

    Raises:
        ValueError: It is none.
    """
    return _read(text, {}, "a number", "0.6")


def read_count(text: str) -> int:
    """Returns an integer >= 1.

    Raises:
        ValueError: It is none.
    """
    return _integer(text, 1)


def read_index(text: str) -> int:
    """Returns an integer >= 0.

    Raises:
        ValueError: It is none.
    """
    return _integer(text, 0)


def read_true(text: str) -> None:
    """Accepts the value of a key that states a fact by itself.

    Raises:
        ValueError: It would deny it.
    """
    if text.lower() not in ("true", "yes", "on"):
        raise ValueError(f"this can only be true. Received: {text}. Omit the line.")


def read_s(text: str) -> float:
    """Returns a time in seconds; a number without a unit is one.

    >>> read_s("20ms"), read_s("1.5min"), read_s("2")
    (0.02, 90.0, 2.0)

    Raises:
        ValueError: It is no time, or has another unit.
    """
    return _read(text, _SECONDS, "a time", "20ms")


def read_bytes_per_s(text: str) -> float:
    """Returns a bandwidth in bytes per second; a number without a unit is one.

    >>> read_bytes_per_s("1Gbit/s"), read_bytes_per_s("100MB/s")
    (125000000.0, 100000000.0)

    Raises:
        ValueError: It is no bandwidth, or has another unit.
    """
    return _read(text, _BYTES_PER_S, "a bandwidth", "1Gbit/s")


def write_number(value: float) -> str:
    """Returns a number as people write it.

    >>> write_number(4.0), write_number(0.6)
    ('4', '0.6')
    """
    return _write(value, {"": Decimal(1)}, "")


def write_s(value_s: float) -> str:
    """Returns a time in the unit that suits it.

    >>> write_s(0.02), write_s(90.0), write_s(0.0)
    ('20ms', '90s', '0s')
    """
    unit = "s" if value_s >= 1 or not value_s else "ms" if value_s >= 1e-3 else "us"
    return _write(value_s, _SECONDS, unit)


def write_bytes_per_s(value: float) -> str:
    """Returns a bandwidth in the unit that suits it.

    >>> write_bytes_per_s(1.25e8), write_bytes_per_s(300.0)
    ('125MB/s', '300B/s')
    """
    fitting = [prefix for prefix, factor in _PREFIXES.items() if value >= factor]
    return _write(value, _BYTES_PER_S, f"{fitting[-1] if fitting else ''}B/s")


def _integer(text: str, at_least: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < at_least:
        raise ValueError(
            f"this must be an integer >= {at_least}. Received: {text}. "
            f"Write {at_least} or more."
        )
    return int(text)


def _read(text: str, units: Mapping[str, Decimal], what: str, example: str) -> float:
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"this must be {what}. Received: {text}. Write {example}.")
    number, unit = found.groups()
    if unit and unit not in units:
        known = f"have one of the units {', '.join(units)}" if units else "have no unit"
        raise ValueError(f"{what} must {known}. Received: {text}. Write {example}.")
    return float(Decimal(number) * units.get(unit, Decimal(1)))


def _write(value: float, units: Mapping[str, Decimal], unit: str) -> str:
    # An exponent would be read back as well, but not by people.
    return f"{(Decimal(repr(value)) / units[unit]).normalize():f}{unit}"
