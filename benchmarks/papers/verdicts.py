"""From comparisons to verdicts, by one stated rule."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

MARGIN = 0.003  # of accuracy: less is no difference

RULE = (
    f"In each case the one with the higher mean over the seeds is above, where the "
    f"difference is more than {MARGIN:.1%} of accuracy; else both are equal. A "
    "statement holds where its subject is never below and is above in at least half of "
    "the cases; it does not hold where it is below in at least as many cases as above; "
    "in between it holds partly. A claim holds where all its statements hold, does not "
    "hold where none holds even partly, and else holds partly."
)


class Verdict(Enum):
    """What the results say of a statement."""

    HOLDS = "holds"
    PARTLY = "holds partly"
    FAILS = "does not hold"
    OPEN = "is not tested yet"


class Order(Enum):
    """How one stands to another."""

    ABOVE = "above"
    EQUAL = "equal"
    BELOW = "below"


class Statement(NamedTuple):
    """One sentence of a claim, with what came of it."""

    text: str
    verdict: Verdict
    reason: str


def compare(one: float, other: float, margin: float = MARGIN) -> Order:
    """Returns how one value stands to another."""
    if abs(one - other) <= margin:
        return Order.EQUAL
    return Order.ABOVE if one > other else Order.BELOW


def state(text: str, orders: Sequence[Order], *, or_equal: bool = False) -> Statement:
    """Returns what becomes of a statement over a number of cases.

    Args:
        text: The statement.
        orders: How its subject stands in each case.
        or_equal: Whether the statement says that it is not below, and no more.
    """
    counts = {order: orders.count(order) for order in Order}
    reason = ", ".join(f"{order.value} in {counts[order]}" for order in Order)
    above, below = counts[Order.ABOVE], counts[Order.BELOW]
    if or_equal:
        above += counts[Order.EQUAL]
    if not orders:
        return Statement(text, Verdict.OPEN, "no case is complete")
    if not below and 2 * above >= len(orders):
        verdict = Verdict.HOLDS
    else:
        verdict = Verdict.FAILS if below >= above else Verdict.PARTLY
    return Statement(text, verdict, f"{reason} of {len(orders)} cases")


def overall(statements: Sequence[Statement]) -> Verdict:
    """Returns what becomes of a claim with these statements."""
    found = {statement.verdict for statement in statements}
    if not found or Verdict.OPEN in found:
        return Verdict.OPEN
    return found.pop() if len(found) == 1 else Verdict.PARTLY
