"""Checks of a rule's options, and their error messages."""

from __future__ import annotations

import numbers
from typing import Any


def demand(holds: bool, rule: str, way_out: str, **received: object) -> None:
    """Refuses options that break a rule.

    Args:
        holds: Whether they keep it.
        rule: The rule, as a sentence without its full stop.
        way_out: What to do instead, as a sentence.
        received: The options, by name.

    Raises:
        ValueError: The condition does not hold.
    """
    if not holds:
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise ValueError(f"{rule}. Received: {values}. {way_out}")


def is_number(
    value: Any, at_least: float = float("-inf"), below: float = float("inf")
) -> bool:
    """Whether a value is a number, no bool, with ``at_least <= value < below``."""
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and bool(at_least <= value < below)


def is_count(value: object, at_least: int) -> bool:
    """Whether a value is an integer, no bool, of at least ``at_least``."""
    return isinstance(value, numbers.Integral) and is_number(value, at_least=at_least)


def demand_positive(way_out: str, **option: object) -> None:
    """Refuses one option, by name, that is no number > 0.

    Raises:
        ValueError: The value is not a number > 0.
    """
    ((name, value),) = option.items()
    holds = is_number(value, at_least=0) and value != 0
    demand(holds, f"{name} must be a number > 0", way_out, **option)


def demand_decay(way_out: str, **option: object) -> None:
    """Refuses one option, by name, that is no number in [0, 1).

    Raises:
        ValueError: The value is not a number in [0, 1).
    """
    ((name, value),) = option.items()
    holds = is_number(value, at_least=0, below=1)
    demand(holds, f"{name} must be a number in [0, 1)", way_out, **option)
