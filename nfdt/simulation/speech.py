"""What a simulated worker says to its servers."""

from __future__ import annotations

from nfdt.protocol import packets
from nfdt.protocol.messages import Kind, Message
from nfdt.simulation.workers import Member, Result


def lease(member: Member, epoch: int, num_batches: int) -> Message:
    """Asks for a batch."""
    return Message(Kind.LEASE, member.index, epoch=epoch, parts=num_batches)


def done(member: Member, epoch: int, number: int) -> Message:
    """Tells that a batch is over, where its push does not."""
    return Message(Kind.DONE, member.index, epoch=epoch, number=number)


def meet(member: Member, epoch: int) -> Message:
    """Waits for all at the end of an epoch."""
    payload = packets.pack({"name": f"end of epoch {epoch}"})
    return Message(Kind.MEET, member.index, epoch=epoch, payload=payload)


def push(
    member: Member, group: int, epoch: int, result: Result, compute_s: float
) -> Message:
    """Brings a gradient, which the message does not hold yet."""
    return Message(
        Kind.PUSH,
        member.index,
        group,
        clock=member.clock,
        epoch=epoch,
        number=result.number,
        rate=result.rate,
        loss=result.loss,
        compute_s=compute_s,
        exchange_s=member.exchange_s,
    )


def step(
    member: Member,
    group: int,
    epoch: int,
    number: int,
    loss: float,
    *,
    compute_s: float,
    readings: bytes,
) -> Message:
    """Tells of a step of its own."""
    return Message(
        Kind.STEP,
        member.index,
        group,
        clock=member.clock,
        epoch=epoch,
        number=number,
        loss=loss,
        compute_s=compute_s,
        exchange_s=member.exchange_s,
        payload=readings,
    )
