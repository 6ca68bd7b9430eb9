"""The bytes that a rank sends in an operation of all ranks. Pure arithmetic."""

from __future__ import annotations


def ring_bytes(num_bytes: float, size: int) -> float:
    """Returns what a rank sends when a vector is summed in a ring.

    Args:
        num_bytes: Of the vector.
        size: Number of ranks.
    """
    return 2 * num_bytes * (size - 1) / size


def sent_bytes(kind: str, num_bytes: float, size: int) -> float:
    """Returns what a rank sends in an operation.

    Args:
        kind: As :class:`hfdt.operations.Operation` has it.
        num_bytes: Of this rank's tensors.
        size: Number of ranks.
    """
    if kind == "allgather":
        return num_bytes * (size - 1)
    if kind == "alltoall":
        return num_bytes * (size - 1) / size
    if kind == "broadcast":
        return num_bytes
    return ring_bytes(num_bytes, size)
