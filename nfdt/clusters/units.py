"""The values of a cluster's file other than times: bandwidths, counts, facts."""

from __future__ import annotations

from decimal import Decimal

from fdtcore.text_values import TRUE, read_integer, read_quantity, write_quantity

_PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_BYTES_PER_S = {
    **{f"{prefix}B/s": Decimal(factor) for prefix, factor in _PREFIXES.items()},
    **{f"{prefix}bit/s": Decimal(factor) / 8 for prefix, factor in _PREFIXES.items()},
}


def read_count(text: str) -> int:
    """Returns an integer >= 1.

    Raises:
        ValueError: The text is not an integer >= 1.
    """
    return read_integer(text, 1)


def read_index(text: str) -> int:
    """Returns an integer >= 0.

    Raises:
        ValueError: The text is not an integer >= 0.
    """
    return read_integer(text, 0)


def read_true(text: str) -> None:
    """Accepts the value of a key that states a fact by itself.

    Raises:
        ValueError: The text is not ``true``.
    """
    if text.lower() not in TRUE:
        raise ValueError(f"this can only be true. Received: {text}. Omit the line.")


def read_bytes_per_s(text: str) -> float:
    """Returns a bandwidth in bytes per second; a number without a unit is one.

    >>> read_bytes_per_s("1Gbit/s"), read_bytes_per_s("100MB/s")
    (125000000.0, 100000000.0)

    Raises:
        ValueError: The text is not a bandwidth, or has another unit.
    """
    return read_quantity(text, _BYTES_PER_S, "a bandwidth", "1Gbit/s")


def write_bytes_per_s(value: float) -> str:
    """Returns a bandwidth in the unit that suits it.

    >>> write_bytes_per_s(1.25e8), write_bytes_per_s(300.0)
    ('125MB/s', '300B/s')
    """
    fitting = [prefix for prefix, factor in _PREFIXES.items() if value >= factor]
    return write_quantity(value, _BYTES_PER_S, f"{fitting[-1] if fitting else ''}B/s")
