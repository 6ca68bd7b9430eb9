"""Numbers as people read them."""

from __future__ import annotations


def grouped(number: int) -> str:
    """Returns an integer with its thousands set apart: ``4 690``."""
    return f"{number:,}".replace(",", " ")


def percent(share: float) -> str:
    """Returns a share as ``4 %``."""
    return f"{100 * share:.0f} %"
