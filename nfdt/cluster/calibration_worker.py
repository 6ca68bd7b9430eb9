"""A worker of a calibration.

Started as ``nfdt run -m nfdt.cluster.calibration_worker SCRIPT ARGS``.

The script trains as ever, but no worker writes a file of the user's. When its variables
are on the server, worker 0 measures what the trace of the run does not tell: exchanges
of one parameter.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fdtcore import user_program
from fdtcore.shadow_files import patches
from nfdt.cluster import runtime
from nfdt.planning.calibration import PROBE, PROBE_NAME
from nfdt.planning.probe import Probe, single, timed_s
from nfdt.protocol.client import ShardedVector
from nfdt.protocol.gradients import Dense
from nfdt.protocol.group_spec import GroupSpec


def main(argv: list[str]) -> None:
    """Runs a script or module as this worker of the job.

    Args:
        argv: ``SCRIPT ARGS...`` or ``-m MODULE ARGS...``.
    """
    engine, job_dir = runtime.engine(), os.environ["NFDT_JOB_DIR"]
    if engine.process.rank == 0:
        patches.install([job_dir])  # the others have theirs already
        _probe_at_opening(engine.transport, Path(job_dir, PROBE_NAME))
    module = argv[:1] == ["-m"]
    target, *args = argv[module:]
    user_program.run(target, args, module=module)


def _probe_at_opening(transport: Any, path: Path) -> None:
    """Lets the first group of variables that is opened be followed by the probe."""
    inner = ShardedVector.open

    def open_and_probe(self: ShardedVector, spec: GroupSpec, values: Any) -> None:
        ShardedVector.open = inner  # type: ignore[method-assign]
        inner(self, spec, values)
        probe = Probe(spec, _exchange_s(transport, single(spec)))
        path.write_text(probe.to_json())

    ShardedVector.open = open_and_probe  # type: ignore[method-assign]


def _exchange_s(transport: Any, spec: GroupSpec) -> float:
    """Returns the time of an exchange of one parameter."""
    types = spec.dtype, spec.wire, spec.returned
    probe = ShardedVector(transport, 0, PROBE, [1], *types)
    value = np.zeros(1, spec.dtype)
    probe.open(spec, value)
    return timed_s(lambda: probe.push([Dense(0, value)]))


if __name__ == "__main__":
    main(sys.argv[1:])
