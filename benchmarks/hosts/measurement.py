"""Hosts, the jobs on them in turn, and what the wire alone carries.

The hosts are those of the tests: namespaces of this machine, which share its cores.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from benchmarks.hosts.jobs import JOBS, RATES, Job, Payload
from benchmarks.launches import ROOT, order
from benchmarks.running import ContenderError, in_turn
from tests.cluster.hosts import Hosts, address_of
from tests.processes import Process

# Every host sees it: only their /tmp are their own.
_SHARED = "/var/tmp"
_LINE = re.compile(r'\{"first_step_s": .*\}')
_LINK = ROOT / "fdtcore" / "launcher" / "link.py"
_LOOK_S = 0.02


class Found(NamedTuple):
    """What one run of one job gave."""

    start_s: float  # from its command to its first step
    updates_per_s: Mapping[int, float]  # Mbit/s of the links -> speed


class HostRound(NamedTuple):
    """One round."""

    wire: Mapping[int, float]  # Mbit/s of the links -> bytes/s of a plain TCP stream
    jobs: Mapping[str, Found]  # a job that failed is absent


def measure_round(
    hosts: Hosts, payload: Payload, names: Sequence[str], index: int, timeout_s: float
) -> HostRound:
    """Run each job once, and say so on stderr.

    Args:
        hosts: Those that are up.
        payload: What is trained.
        names: Of the jobs.
        index: Of the round.
        timeout_s: Limit for one run of one job.
    """
    wire = {}
    for rate in RATES:
        limit(hosts, rate)
        wire[rate] = stream_bytes_per_s(hosts)
        text = f"{wire[rate] / 1e6:.1f} MB/s over {rate} Mbit/s"
        click.echo(f"  {'TCP stream':<20} {text}", err=True)
    found = in_turn(
        order(names, index),
        lambda name: run(hosts, JOBS[name], payload, timeout_s),
        shown,
    )
    return HostRound(wire, found)


def shown(found: Found) -> str:
    """Return what was found, in words."""
    speeds = [
        f"{speed:.3g} updates/s{f' over {rate} Mbit/s' if rate else ''}"
        for rate, speed in found.updates_per_s.items()
    ]
    return f"first step after {found.start_s:.1f} s; {', '.join(speeds)}"


def limit(hosts: Hosts, rate: int) -> None:
    """Give all hosts links of one rate, in Mbit/s."""
    for name in hosts.names:
        hosts.limit(name, rate)


def run(hosts: Hosts, job: Job, payload: Payload, timeout_s: float) -> Found:
    """Run one job; change the links before each of its epochs.

    Raises:
        ContenderError: It failed or took too long; the message ends with its words.
    """
    limit(hosts, max(job.rates) or max(RATES))
    with tempfile.TemporaryDirectory(prefix="fdt-bench-", dir=_SHARED) as folder:
        begun_s = time.time()
        words = job.words(payload, folder)
        place = {"folder": Path(folder), "lean": False, "merged": True}
        with hosts.start("node1", *words, **place, **job.environ) as process:
            for phase, rate in enumerate(job.rates):
                _wait(process, Path(folder, f"ready-{phase}"), begun_s + timeout_s)
                if rate:
                    limit(hosts, rate)
                Path(folder, f"go-{phase}").touch()
            _wait(process, None, begun_s + timeout_s)
            return _read(process.output, job, begun_s)


def _wait(process: Process, path: Path | None, ends_s: float) -> None:
    """Return when a file is there, or with None when the process has ended."""
    while not (path.exists() if path else process.returncode is not None):
        is_over = process.returncode is not None
        if is_over or time.time() > ends_s:
            why = f"exit code {process.returncode}" if is_over else "not finished"
            raise ContenderError(f"{why}: {process.output[-2000:]}")
        time.sleep(_LOOK_S)


def _read(output: str, job: Job, begun_s: float) -> Found:
    line = _LINE.search(output)
    if line is None:
        raise ContenderError(f"no times were printed: {output[-2000:]}")
    found: dict[str, Any] = json.loads(line[0])
    speeds = [one["updates"] / one["seconds"] for one in found["phases"]]
    by_rate = dict(zip(job.rates, speeds, strict=True))
    return Found(found["first_step_s"] - begun_s, by_rate)


def stream_bytes_per_s(hosts: Hosts) -> float:
    """Return what a plain TCP stream carries from the first host to the second."""
    token = secrets.token_hex(16)
    address = address_of("node2")
    with _speaking(hosts, "node2", token, "serve", address) as server:
        port = str(_told(server))
        with _speaking(hosts, "node1", token, "measure", address, port) as client:
            _, bytes_per_s = _told(client)
    return float(bytes_per_s)


@contextmanager
def _speaking(
    hosts: Hosts, host: str, token: str, *words: str
) -> "Iterator[subprocess.Popen[str]]":
    command = hosts.words(host, ROOT, (sys.executable, _LINK, *words))
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=dict(os.environ)
    ) as process:
        assert process.stdin is not None
        process.stdin.write(f"{token}\n")
        process.stdin.flush()
        try:
            yield process
        finally:
            process.stdin.close()  # which ends a server


def _told(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("link:"):
            return json.loads(line.removeprefix("link:"))
    raise ContenderError("the TCP stream could not be measured")
