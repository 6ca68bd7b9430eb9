"""What a worker's performance monitor reads, and its way to the server."""

from __future__ import annotations

from typing import Any, NamedTuple

from nfdt.protocol import packets

INTERVAL_S = 1.0  # between two readings, at least


class Readings(NamedTuple):
    """How a worker and its machine fared since the readings before."""

    steps_per_s: float  # while it computes: waiting does not make it slow
    cpu_percent: float = 0.0  # of the whole machine, as are the others
    memory_percent: float = 0.0
    network_bytes_per_s: float = 0.0  # sent and received
    disk_bytes_per_s: float = 0.0  # read and written

    def packed(self) -> bytes:
        """Returns the payload of a STEP."""
        return packets.pack(self._asdict())


def unpacked(payload: Any) -> Readings:
    """Returns the readings in the payload of a STEP.

    Raises:
        ValueError: There are none.
    """
    description, _ = packets.unpack(payload)
    if description.keys() != set(Readings._fields):
        raise ValueError(
            f"readings must be {', '.join(Readings._fields)}. "
            f"Received: {', '.join(description)}."
        )
    return Readings(**{name: float(value) for name, value in description.items()})
