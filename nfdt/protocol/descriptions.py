"""What workers say of a group of variables when they open it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def difference(
    one: Mapping[str, Any], other: Mapping[str, Any], *, rates: bool = True
) -> tuple[str, str] | None:
    """Names the first difference between two descriptions of a group, if any.

    Args:
        one: What was said first.
        other: What is said now.
        rates: Whether learning rates count that are numbers. Among workers they do
            not: a callback may have changed one before another worker has begun.
    """
    if one["algorithm"] != other["algorithm"]:
        return f"algorithm {one['algorithm']}", str(other["algorithm"])
    mine, theirs = one["variables"], other["variables"]
    for index in range(max(len(mine), len(theirs))):
        pair = [str(v[index]) if index < len(v) else "nothing" for v in (mine, theirs)]
        if pair[0] != pair[1]:
            return pair[0], pair[1]
    mine, theirs = (d["optimizer"] for d in (one, other))
    if not rates:
        mine, theirs = _without_rate(mine), _without_rate(theirs)
    if mine != theirs:
        return f"optimizer {mine}", str(theirs)
    mine, theirs = one.get("undecayed", []), other.get("undecayed", [])
    if mine != theirs:
        return f"no weight decay of {mine}", f"of {theirs}"
    return None


def _without_rate(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(optimizer["config"])
    if isinstance(values.get("learning_rate"), int | float):
        del values["learning_rate"]
    return {**optimizer, "config": values}
