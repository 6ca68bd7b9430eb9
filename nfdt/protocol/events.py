"""The events of a trace: pushes and local steps, and other happenings.

What a worker's performance monitor reads, and its way to the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from nfdt.protocol import serialization
from nfdt.protocol.messages import Message

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Happenings that a server sees by itself.
BARRIER, READINGS = "barrier", "readings"


class Use(IntEnum):
    """What became of a batch."""

    UPDATE = 0  # its gradient was pushed, and is part of an update
    OWN = 1  # a step of the worker's own; a later push has it in it
    DROPPED = 2  # its gradient came too late, and was used for nothing


class Event(NamedTuple):
    """One push or one step of a worker's own, as the trace tells it."""

    time_s: float  # when it was applied; when it arrived, where it was not
    worker: int
    group: int
    clock: int  # pushes and steps of this worker, this one included
    version: int  # updates, this one included
    staleness: int  # updates between this worker's pull and this one
    lead: int  # clock minus the slowest worker's, when it arrived
    wait_s: float  # from arrival to release
    compute_s: float  # as the worker says
    exchange_s: float  # of the push or step before, as the worker says
    loss: float
    epoch: int  # as EpochId packs it; -1 where it has none
    number: int  # batch of the epoch; -1 where it has none
    use: int = int(Use.UPDATE)


class Happening(NamedTuple):
    """What else a server saw."""

    time_s: float
    about: Mapping[str, Any]  # its kind, and more


def event_of(
    message: Message,
    time_s: float,
    version: int,
    staleness: int,
    lead: int,
    use: Use = Use.UPDATE,
) -> Event:
    """Returns the event of a push or a step, not waited for yet."""
    return Event(
        time_s,
        message.worker,
        message.group,
        message.clock,
        version,
        staleness,
        lead,
        0.0,
        message.compute_s,
        message.exchange_s,
        message.loss,
        message.epoch,
        message.number,
        int(use),
    )


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
        return serialization.pack(self._asdict())


def unpacked(payload: Buffer) -> Readings:
    """Returns the readings in the payload of a STEP.

    Raises:
        ValueError: The message has no readings.
    """
    description, _ = serialization.unpack(payload)
    if description.keys() != set(Readings._fields):
        raise ValueError(
            f"readings must be {', '.join(Readings._fields)}. "
            f"Received: {', '.join(description)}."
        )
    return Readings(**{name: float(value) for name, value in description.items()})
