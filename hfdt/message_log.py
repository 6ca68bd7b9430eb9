"""Horovod's operations as a log shows them."""

from __future__ import annotations

from fdtcore.message_log import MessageLog
from hfdt.operations import Observer, Operation


def observer(log: MessageLog, job_rank: int) -> Observer:
    """Returns what writes a line for each operation.

    Args:
        log: Where the lines go.
        job_rank: This process among all of the job, which lines name.
    """

    def note(operation: Operation) -> None:
        count = operation.num_tensors
        log.note(
            f"r{job_rank}",
            operation.kind,
            operation.name.removeprefix("hfdt."),
            f"{count} tensors" if count > 1 else "",
            num_bytes=operation.num_bytes,
            took_s=operation.took_s,
        )

    return note
