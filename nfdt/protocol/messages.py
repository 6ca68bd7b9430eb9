"""The messages between workers and servers, and their fixed-size header."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Kind(IntEnum):
    """What a message is for; the answer's kind stands behind the arrow."""

    OPEN = 1  # description and first values of a group of variables -> PARAMS
    PUSH = 2  # a gradient -> PARAMS, when the controller releases the worker
    PULL = 3  # nothing -> PARAMS, at once
    LOAD = 4  # values, and what belongs to them, to go on from -> PARAMS
    STATE = 5  # nothing -> BYTES: the state of the update rule
    LEASE = 6  # asks for a batch of an epoch -> LEASE; number < 0: see `leases`
    DONE = 7  # a batch is over without a push; parts 1: it is to be merged; no answer
    MEET = 8  # bytes for all workers -> BYTES, when all have sent theirs
    STOP = 9  # an epoch loop ends early: no more leases; no answer
    AWAY = 10  # nobody waits for this worker until it is BACK, or steps; no answer
    FAIL = 11  # this worker ends with an error; no answer
    BYE = 12  # this worker has come to its end; no answer
    NOTE = 13  # what to keep of an epoch that is over, or of the job; no answer
    RECALL = 14  # nothing -> BYTES: what an interrupted run has noted
    STEP = 15  # a step of the worker's own is over; perhaps readings -> PACE
    BACK = 16  # this worker goes on, from what it pulls now; no answer

    PARAMS = 20
    BYTES = 21
    REFUSED = 22  # the payload says why
    ENDED = 23  # the job is over; a payload says why, number with which exit code
    PACE = 24  # number 1: push now what the steps have come to; 0: go on


# kind, worker, group, clock, version, number, epoch, parts, rate, loss, compute_s,
# exchange_s, bytes of the payload
_HEADER = struct.Struct("<8q4dq")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True)
class Message:
    """One message.

    Args:
        kind: What it is for.
        worker: Who sends it; in an answer, whom it is for.
        group: Index of the group of variables that one optimizer trains.
        clock: Pushes and steps that the worker has told of, this one included.
        version: Updates applied to the parameters in the payload; in a push to those
            that the worker has as they were sent to it, -1 where they are others'.
        number: Number of a batch in its epoch; -1 for none.
        epoch: The epoch, as :class:`nfdt.protocol.epoch_id.EpochId` packs it; -1 for
            none.
        parts: Segments in a payload that holds rows; 0 for a plain vector. Of an answer
            ``ELEMENTS`` for some elements of one; of a push -n for a compressed one
            in which n elements are not left out.
        rate: The worker's learning rate where it has changed; NaN where not.
        loss: Loss of the batch; NaN where it is not known.
        compute_s: Time from the last release to this push or step.
        exchange_s: Time from the last push or step to its answer.
        payload: Bytes, or an array that is not written any more.
    """

    kind: Kind
    worker: int
    group: int = 0
    clock: int = 0
    version: int = 0
    number: int = -1
    epoch: int = 0
    parts: int = 0
    rate: float = math.nan
    loss: float = math.nan
    compute_s: float = 0.0
    exchange_s: float = 0.0
    payload: Any = b""

    def header(self) -> bytes:
        """Returns all but the payload, and its length, as ``HEADER_BYTES`` bytes."""
        return _HEADER.pack(
            self.kind,
            self.worker,
            self.group,
            self.clock,
            self.version,
            self.number,
            self.epoch,
            self.parts,
            self.rate,
            self.loss,
            self.compute_s,
            self.exchange_s,
            as_bytes(self.payload).nbytes,
        )


def as_bytes(payload: Buffer | npt.NDArray[Any]) -> memoryview:
    """Returns a payload's own bytes, to be sent or written into.

    Args:
        payload: Bytes or a contiguous array, of any type: bfloat16 has no buffer.
    """
    if isinstance(payload, np.ndarray):
        payload = payload.reshape(-1).view(np.uint8).data
    return memoryview(payload).cast("B")


def read_header(data: bytes) -> tuple[Message, int]:
    """Returns a message without its payload, and the payload's length in bytes.

    Raises:
        ValueError: The bytes are no header.
    """
    if len(data) != HEADER_BYTES:
        raise ValueError(f"a header has {HEADER_BYTES} bytes. Received: {len(data)}.")
    kind, *fields, payload_bytes = _HEADER.unpack(data)
    if payload_bytes < 0:
        raise ValueError(f"a payload has >= 0 bytes. Received: {payload_bytes}.")
    return Message(Kind(kind), *fields), payload_bytes
