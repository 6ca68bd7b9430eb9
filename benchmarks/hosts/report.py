"""Tables and figures of jobs on hosts."""

from collections.abc import Sequence
from typing import Any

from benchmarks import report
from benchmarks.hosts.jobs import BATCH_PER_RANK, JOBS, RATES, Job, Payload
from benchmarks.hosts.measurement import HostRound
from benchmarks.hosts.targets import Row
from benchmarks.ratios import Spread, spread


def job_table(rounds: Sequence[HostRound], payload: Payload) -> str:
    """Return what each job gave over each link, beside what the wire carries.

    Args:
        rounds: What was measured.
        payload: What was trained.
    """
    cells = []
    for name, job in JOBS.items():
        for rate in job.rates:
            speeds = [
                one.jobs[name].updates_per_s[rate] for one in rounds if name in one.jobs
            ]
            if speeds:
                cells.append([name, *_row(job, payload, rate, rounds, spread(speeds))])
    for rate in RATES:
        found = spread([one.wire[rate] / 1e6 for one in rounds])
        cells.append(
            ["a TCP stream", str(rate), "", "", "", f"{found.median:.1f}", "100 %"]
        )
    header = [payload.title, "Mbit/s", "updates/s", "min .. max"]
    return report.table([*header, "images/s", "MB/s", "of the wire"], cells)


def _row(
    job: Job, payload: Payload, rate: int, rounds: Sequence[HostRound], speed: Spread
) -> list[str]:
    images = BATCH_PER_RANK * (job.processes if job.program == "hfdt" else 1)
    cells = [
        str(rate or "-"),
        f"{speed.median:.3g}",
        f"{speed.low:.3g} .. {speed.high:.3g}",
        f"{images * speed.median:.3g}",
    ]
    if not rate:
        return [*cells, "-", "-"]
    moved = job.update_bytes(payload) * speed.median
    wire = spread([one.wire[rate] for one in rounds]).median
    return [*cells, f"{moved / 1e6:.1f}", f"{moved / wire:.0%}"]


def target_table(rows: Sequence[Row]) -> str:
    """Return the table of targets: measured, wanted, reached or not."""
    cells = []
    for row in rows:
        target, found = row.target, row.found
        sign = "<=" if target.rate is None else ">="
        cells.append(
            [
                f"{target.quantity}: {target.job} / {target.reference}",
                f"{found.median:.2f}",
                f"{found.low:.2f} .. {found.high:.2f}",
                "-" if target.bound is None else f"{sign} {target.bound:g}",
                row.verdict,
            ]
        )
    return report.table(["ratio", "median", "min .. max", "wanted", "verdict"], cells)


def as_json(
    rounds: Sequence[HostRound], rows: Sequence[Row], payload: Payload
) -> dict[str, Any]:
    """Return every round and the targets, for the file of figures."""
    return {
        "title": payload.title,
        "rounds": [
            {
                "wire_bytes_per_s": {r: round(v) for r, v in one.wire.items()},
                "jobs": {
                    name: {
                        "start_s": round(found.start_s, 2),
                        "updates_per_s": {
                            rate: round(v, 4) for rate, v in found.updates_per_s.items()
                        },
                    }
                    for name, found in one.jobs.items()
                },
            }
            for one in rounds
        ],
        "targets": [
            {
                **row.target._asdict(),
                "values": [round(value, 4) for value in row.values],
                "median": round(row.found.median, 4),
                "verdict": row.verdict,
            }
            for row in rows
        ],
    }
