"""Records of ranks that never ran, as they would have written them."""

from __future__ import annotations

from types import SimpleNamespace

from hfdt.telemetry.recorder import Recorder

START_S = 1000.0
MB = 1_000_000


def recorder(folder, rank, *, ranks=2, begun_s=START_S, goes_on=False, **facts):
    facts = {"host": "node1", "compression": "none", "accumulate": 1, **facts}
    facts |= {"ranks": ranks, "begun_s": begun_s}
    return Recorder(folder, rank, facts, goes_on=goes_on)


def operation(made, name, begun_s, ended_s, num_bytes=MB, kind="sum", is_traced=True):
    made.operation(
        SimpleNamespace(
            kind=kind,
            name=f"hfdt.{name}",
            num_bytes=num_bytes,
            begun_s=begun_s,
            ended_s=ended_s,
            is_traced=is_traced,
        )
    )


def gradients(made, name, time_s, num_bytes=2 * MB):
    """What a rank writes of a step that is traced, at a time of one's own."""
    line = {"kind": "gradients", "name": name, "time_s": time_s, "bytes": num_bytes}
    made._file.write([line])


def run(folder, num_steps=20, computing_s=(0.020, 0.030), *, ends=True, **facts):
    """Two buckets a step; the first leaves in the middle of the backward pass.

    Args:
        folder: Of the trace.
        num_steps: Of each rank.
        computing_s: By rank, until the last gradient.
        ends: Whether the ranks say that they have finished.
        **facts: Of the job.
    """
    reducing_s, slowest_s = 0.006, max(computing_s)
    for rank, own_s in enumerate(computing_s):
        made = recorder(folder, rank, ranks=len(computing_s), **facts)
        now_s = facts.get("begun_s", START_S)
        operation(made, "variables", now_s, now_s + 0.01, is_traced=False)
        gradients(made, "gradients.0.0", now_s + 1)
        now_s += 5  # it is traced
        for _ in range(num_steps):
            own_end_s, all_s = now_s + own_s, now_s + slowest_s
            operation(made, "gradients.0.0.2.float32", own_end_s - 0.01, all_s - 0.002)
            now_s = all_s + reducing_s
            operation(made, "gradients.0.0.0.float32", own_end_s, now_s)
        if ends:
            made._file.note("finished", now_s)
        made.close()
