"""``doctor -H``: what the machines of a job have, and the network between them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import secrets
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from fdtcore import interfaces
from fdtcore.interfaces import Interface
from fdtcore.launcher import jobs, network, preflight
from fdtcore.launcher.hosts import Host, addresses, is_local
from fdtcore.launcher.preflight import Machine, Requirements
from fdtcore.launcher.terminal import Terminal

_LIMIT_S = 30
# All pairs of more machines than this would take too long: then each with the next.
_ALL_PAIRS = 4
_MARK = "link:"


@dataclasses.dataclass(frozen=True)
class MeasuredLink:
    """What was measured between two machines, or why nothing could be."""

    one: str
    other: str
    latency_s: float = 0.0  # one way
    bandwidth_bytes_s: float = 0.0
    problem: str = ""

    def line(self) -> str:
        """Returns the row of a table."""
        if self.problem:
            return f"{self.one} to {self.other}: {self.problem}"
        return (
            f"{self.one} to {self.other}: {self.latency_s * 1e3:.2f} ms one way, "
            f"{self.bandwidth_bytes_s * 8e-6:.0f} Mbit/s"
        )


@dataclasses.dataclass(frozen=True)
class MachineRequest:
    """Which machines ``doctor`` is to examine.

    Args:
        hosts: As ``-H`` takes them; None without it.
        hostfile: Path of a file that names them; None without it.
        interface: The network between them; empty to find it.
    """

    hosts: str | None
    hostfile: str | None
    interface: str

    def __bool__(self) -> bool:
        return bool(self.hosts or self.hostfile)

    def examine(
        self, program: str, distributions: tuple[str, ...], terminal: Terminal
    ) -> int:
        """Examines them; returns the exit code.

        Args:
            program: Name of the framework's command.
            distributions: Whose versions must be the same on all machines.
            terminal: Where a refusal is said.
        """
        try:
            place = jobs.choose_place(self.hosts, self.hostfile, os.environ)
        except ValueError as error:
            terminal.fail(str(error))
        environ = dict(os.environ)
        if self.interface:
            environ[f"{program.upper()}_INTERFACE"] = self.interface
        wanted = Requirements(program, distributions, os.getcwd())
        return examine(place.hosts, wanted, environ, click.echo)


def examine(
    hosts: Sequence[Host],
    wanted: Requirements,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> int:
    """Examines machines and what is between them.

    Args:
        hosts: Machines to examine.
        wanted: What each must have.
        environ: Environment of the process.
        say: Takes one line at a time.

    Returns:
        Exit code: 0 if nothing is wrong, else 1.
    """
    machines = preflight.ask(hosts, wanted, environ)
    for machine in machines:
        if not machine.problem:
            say(f"{machine.name:<12} {_about(machine)}")
    problems = preflight.problems(machines, wanted)
    for problem in problems:
        say(f"WRONG: {problem}")
    for warning in preflight.warnings(machines, wanted):
        say(warning)
    reached = [machine for machine in machines if not machine.problem]
    variable = f"{wanted.package.upper()}_INTERFACE"
    name = environ.get(variable) or network.common(reached, addresses(hosts))
    if len(reached) > 1:
        problems += _examine_links(reached, name, environ, say)
    count = len(problems)
    say("Nothing is wrong." if not count else f"{count} wrong.")
    return int(bool(count))


def _about(machine: Machine) -> str:
    answer = machine.answer
    versions = ", ".join(f"{name} {v}" for name, v in answer["versions"].items() if v)
    return (
        f"{answer['cores']} cores, Python {answer['python']}, {versions}, "
        f"{answer['free_bytes'] / 1e9:.0f} GB free, clock {machine.clock_s:+.1f} s, "
        f"answers in {machine.round_trip_s:.1f} s"
    )


def _examine_links(
    machines: Sequence[Machine],
    name: str,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> list[str]:
    """Measures pairs of machines; returns what is wrong."""
    if not name:
        text = "the machines have no network in common. Name one: --interface."
        say(f"WRONG: {text}")
        return [text]
    say(f"network      {name}")
    several = {
        machine.name: interfaces.matching(name, network.interfaces_of(machine))
        for machine in machines
    }
    pairs = list(itertools.combinations(several, 2))
    if len(several) > _ALL_PAIRS:
        pairs = list(itertools.pairwise(several))
    found = []
    # Both ways: a machine may take connections from none, at any port that is free.
    for one, other in itertools.chain.from_iterable((p, p[::-1]) for p in pairs):
        link = _measured(one, other, several[other], environ)
        say(f"{'':<12} {link.line()}")
        if link.problem:
            found.append(link.line())
    return found


def _measured(
    one: str, other: str, there: Interface | None, environ: Mapping[str, str]
) -> MeasuredLink:
    if there is None:
        return MeasuredLink(one, other, problem=f"{other} is not on this network")
    token = secrets.token_hex(16)
    server = _start(other, ["serve", str(there.address)], environ)
    assert server.stdin is not None and server.stdout is not None
    limit = threading.Timer(_LIMIT_S, server.kill)
    limit.start()
    try:
        server.stdin.write(f"{token}\n")
        server.stdin.flush()
        port = _told(iter(server.stdout.readline, ""))
        if port is None:
            return MeasuredLink(
                one, other, problem=f"{other} cannot listen on {there.address}"
            )
        words = ["measure", str(there.address), str(port)]
        client = _start(one, words, environ)
        try:
            said, errors = client.communicate(f"{token}\n", _LIMIT_S)
        except subprocess.TimeoutExpired:
            client.kill()
            return MeasuredLink(one, other, problem=f"no answer within {_LIMIT_S} s")
        found = _told(iter(said.splitlines()))
        if found is None:
            last = (errors.strip().splitlines() or ["no answer"])[-1]
            return MeasuredLink(one, other, problem=last)
        return MeasuredLink(one, other, *found)
    finally:
        limit.cancel()
        server.stdin.close()
        server.kill()
        server.wait()


def _start(
    host: str, words: Sequence[str], environ: Mapping[str, str]
) -> subprocess.Popen[str]:
    # Not as standard input, which carries the token: that is for no list of processes.
    source = (Path(__file__).parent / "link.py").read_text()
    command = [sys.executable, "-c", source, *words]
    if not is_local(host):
        command = [*preflight.agent(environ), host.strip("[]"), shlex.join(command)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=dict(environ)
    )


def _told(lines: Iterator[str]) -> Any:
    """Returns what a machine has said behind the mark; None where it has ended."""
    for line in lines:
        if line.startswith(_MARK):
            return json.loads(line.removeprefix(_MARK))
    return None
