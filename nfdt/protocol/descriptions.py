"""What workers say of a group of variables when they open it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def difference(
    one: Mapping[str, Any], other: Mapping[str, Any]
) -> tuple[str, str] | None:
    """Names the first difference between two descriptions of a group, if any."""
    if one["algorithm"] != other["algorithm"]:
        return f"algorithm {one['algorithm']}", str(other["algorithm"])
    mine, theirs = one["variables"], other["variables"]
    for index in range(max(len(mine), len(theirs))):
        pair = [str(v[index]) if index < len(v) else "nothing" for v in (mine, theirs)]
        if pair[0] != pair[1]:
            return pair[0], pair[1]
    if one["optimizer"] != other["optimizer"]:
        return f"optimizer {one['optimizer']}", str(other["optimizer"])
    return None
