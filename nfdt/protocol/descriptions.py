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
        return _optimizers(mine, theirs)
    mine, theirs = one.get("undecayed", []), other.get("undecayed", [])
    if mine != theirs:
        return f"no weight decay of {mine}", f"of {theirs}"
    return None


def _without_rate(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(optimizer["config"])
    if isinstance(values.get("learning_rate"), int | float):
        del values["learning_rate"]
    return {**optimizer, "config": values}


def _optimizers(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str]:
    """Names two optimizers: by their classes, or by the first setting that differs."""
    if one.get("class_name") != other.get("class_name"):
        return f"optimizer {one.get('class_name')}", str(other.get("class_name"))
    mine, theirs = one.get("config") or {}, other.get("config") or {}
    for key in (*mine, *theirs):
        if mine.get(key) != theirs.get(key):
            name = f"optimizer {one.get('class_name')} with {key}"
            return f"{name}={mine.get(key)!r}", f"{key}={theirs.get(key)!r}"
    return f"optimizer {one.get('class_name')}", "another of that name"
