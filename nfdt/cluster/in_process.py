"""The servers of a single worker, in its own process, with the same records."""

from __future__ import annotations

import atexit
import os
import sys
import time

from fdtcore import output
from fdtcore.options import is_set
from nfdt import algorithms
from nfdt.glue.shard_factory import maker
from nfdt.options import Options
from nfdt.protocol.server import Service
from nfdt.protocol.topology import Roles
from nfdt.protocol.transport import LEAVE_S, LocalTransport
from nfdt.telemetry.recorder import Recording


def transport(options: Options, roles: Roles) -> LocalTransport:
    """Makes the servers; at the end of the process they tell what there was.

    Args:
        options: The user's options.
        roles: Of a job of one process.

    Returns:
        The worker's way to them.
    """
    rule = algorithms.find(options.algorithm)
    make = maker(rule, options.controller, roles.num_workers, roles.num_servers)
    services = [Service(roles.num_workers, make) for _ in range(roles.num_servers)]
    recordings = [
        Recording(service, options, roles, server)
        for server, service in enumerate(services)
    ]
    made = LocalTransport(
        services,
        time.perf_counter,
        waits=True,
        pushed=lambda server: recordings[server].take(),
    )
    atexit.register(_end, made, recordings[0], os.getpid())
    return made


def _end(way: LocalTransport, recording: Recording, pid: int) -> None:
    """Ends the trace, and prints the summary under ``nfdt run``."""
    if os.getpid() != pid:
        return  # a child that the script has forked
    if way.close():
        time.sleep(LEAVE_S)
    lines = [line for line in [recording.close()] if line]
    # Python keeps the exception that has ended a script.
    has_failed = hasattr(sys, "last_value")
    if (
        is_set(os.environ, "NFDT_LAUNCHED")
        and recording.summary.pushes
        and not has_failed
    ):
        lines += recording.summary.lines()
    for line in lines:
        print(f"nfdt: {line}", file=output.terminal(), flush=True)
