"""The examination of a job's other machines, before anything starts there.

A machine that is down, asks for a password or lacks the environment would show in
mpirun's words after minutes, when processes run elsewhere already.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdtcore.launcher.hosts import Host, is_local

# Open MPI's variables for what it calls in place of ssh, the newest first.
AGENTS = ("PRTE_MCA_plm_ssh_agent", "OMPI_MCA_plm_ssh_agent", "OMPI_MCA_plm_rsh_agent")
CONNECT_S = 5
LIMIT_S = 9.0  # all machines are asked at once
_CLOCK_S = 30.0  # more than this between two clocks confuses make, logs and leases
_LEAST_BYTES = 16 << 20
# ssh's words -> what the user is to do.
_WAYS_OUT = {
    "Permission denied": "Log in without a password: ssh-copy-id {host}.",
    "Host key verification failed": "Accept its key once: ssh {host}.",
    "No route to host": "Is it up, and on this network?",
    "timed out": "Is it up, and does its firewall let ssh in?",
    "Connection refused": "Start its sshd, or name its port in ~/.ssh/config.",
    "Could not resolve hostname": "Correct the name, or /etc/hosts.",
}
_MARK = "\nprobe:"
# The shell's code for a program that is not there.
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126  # for this user


@dataclasses.dataclass(frozen=True)
class Machine:
    """What one machine says of itself, or why it says nothing."""

    name: str  # as the user wrote it
    answer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    problem: str = ""  # why there is no answer, one sentence
    round_trip_s: float = 0.0  # from asking to answering
    clock_s: float = 0.0  # how far its clock is ahead of this one's


@dataclasses.dataclass(frozen=True)
class Requirements:
    """What a machine must have to take part in a job.

    Args:
        package: Of the framework.
        distributions: Whose versions must be those of this machine.
        folder: Where the processes work.
        script: Path of the program; empty for none.
        logs: Where their output goes; empty for nowhere.
    """

    package: str
    distributions: tuple[str, ...]
    folder: str
    script: str = ""
    logs: str = ""

    def text(self) -> str:
        """Returns it as the probe reads it."""
        packages = ["fdtcore", self.package]
        return json.dumps({**dataclasses.asdict(self), "packages": packages})


def agent(environ: Mapping[str, str]) -> list[str]:
    """Returns the command that runs another one on a machine, without its name.

    Args:
        environ: The environment of the launcher, which may name one of the user's.
    """
    for name in AGENTS:
        if name in environ:
            return shlex.split(environ[name].split(":")[0])
    return shlex.split(ssh_agent())


def ssh_agent() -> str:
    """Returns how ``ssh`` is called: it neither waits long nor asks anybody."""
    return f"ssh -o ConnectTimeout={CONNECT_S} -o BatchMode=yes"


def ask(
    hosts: Sequence[Host], wanted: Requirements, environ: Mapping[str, str]
) -> list[Machine]:
    """Asks all machines at once what they have.

    Args:
        hosts: Machines; this one is asked without ssh.
        wanted: What each must have.
        environ: The environment of the launcher.

    Returns:
        What each says, in the same order.
    """
    with concurrent.futures.ThreadPoolExecutor(len(hosts)) as threads:
        return list(threads.map(lambda host: _ask(host.name, wanted, environ), hosts))


def _ask(name: str, wanted: Requirements, environ: Mapping[str, str]) -> Machine:
    words = [sys.executable, "-", wanted.text()]
    if not is_local(name):
        there = ["env", f"PYTHONPATH={environ.get('PYTHONPATH', '')}", *words]
        words = [*agent(environ), name.strip("[]"), shlex.join(there)]
    began_s = time.time()
    try:
        done = subprocess.run(
            words,
            input=probe_source(),
            capture_output=True,
            text=True,
            errors="replace",
            env=dict(environ),
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"{name} takes connections and does not answer (within {LIMIT_S:.0f} s)."
        return Machine(name, problem=f"{text} Is its sshd stopped, or the disk silent?")
    except OSError as error:
        return Machine(name, problem=f"{words[0]}: {error.strerror}.")
    ended_s = time.time()
    answer = read_answer(done.stdout)
    if answer is None:
        problem = explain(name, done.returncode, done.stderr)
        return Machine(name, problem=problem)
    clock_s = answer["time_s"] - (began_s + ended_s) / 2
    return Machine(name, answer, "", ended_s - began_s, clock_s)


def probe_source() -> str:
    """Returns the program that looks at a machine, for the input of its Python."""
    return (Path(__file__).parent / "probe.py").read_text()


def read_answer(text: str) -> Mapping[str, Any] | None:
    """Returns what a machine has told of itself, or None where it has not.

    Args:
        text: Standard output of the probe, which a login shell may have added to.
    """
    _, mark, answer = text.rpartition(_MARK)
    found: dict[str, Any] | None = json.loads(answer) if mark else None
    return found


def explain(name: str, code: int, said: str) -> str:
    """Says in a sentence why a machine has not answered.

    Args:
        name: The machine.
        code: Exit code of what was to ask it.
        said: What that has written.
    """
    lines = [line for line in said.splitlines() if line.strip()]
    last = lines[-1].strip().rstrip(".") if lines else f"exit code {code}"
    if code == _NOT_FOUND:
        return f"{name} has no {sys.executable}: {last}. Install the same there."
    if code == _NOT_EXECUTABLE:
        way_out = "Let the user that ssh logs in as read it, and the folders above."
        return f"{name} cannot run {sys.executable}: {last}. {way_out}"
    found = (way for words, way in _WAYS_OUT.items() if words in last)
    way_out = next(found, f"Try: ssh {name} true.").format(host=name)
    return f"{name}: {last}. {way_out}"


def problems(machines: Sequence[Machine], wanted: Requirements) -> list[str]:
    """Returns what keeps machines from taking part, a sentence for each.

    Args:
        machines: What each has answered; the versions of all must be the first one's
            that did.
        wanted: What each must have.
    """
    found = unfit(machines, wanted)
    silent = [machine.problem for machine in machines if machine.problem]
    return [*silent, *(text for text in found.values() if text not in silent)]


def unfit(machines: Sequence[Machine], wanted: Requirements) -> dict[str, str]:
    """Returns the machines that cannot take part, each with the reason.

    Args:
        machines: As for `problems`.
        wanted: What each must have.
    """
    answered = [machine for machine in machines if not machine.problem]
    return {
        machine.name: problem
        for machine in machines
        if (problem := machine.problem or _problem(machine, answered[0], wanted))
    }


def _problem(machine: Machine, first: Machine, wanted: Requirements) -> str:
    name, answer = machine.name, machine.answer
    for package, place in answer["places"].items():
        if place is None:
            return (
                f"{name} has no {package} in {sys.executable}. Install the same there, "
                "or share its folder."
            )
    if not answer["has_folder"]:
        return f"{name} has no folder {wanted.folder}. Share it, or copy it there."
    if not answer["has_script"]:
        return f"{name} has no {wanted.script}. Share its folder, or copy it there."
    if answer["wrong_logs"]:
        return (
            f"{name} cannot write to {wanted.logs}: {answer['wrong_logs']}. Choose "
            "another folder: --output DIR."
        )
    for what in ("python", "versions"):
        ours, theirs = first.answer[what], answer[what]
        if ours != theirs:
            return (
                f"{name} has {_versions(what, theirs, ours)}, and {first.name} "
                f"{_versions(what, ours, theirs)}. Install the same on both."
            )
    return ""


def _versions(what: str, own: Any, other: Any) -> str:
    if what == "python":
        return f"Python {own}"
    differing = [name for name in own if own[name] != other[name]]
    return ", ".join(f"{name} {own[name] or 'not at all'}" for name in differing)


def warnings(machines: Sequence[Machine], wanted: Requirements) -> list[str]:
    """Returns what may go wrong later, a sentence for each."""
    found = []
    for machine in machines:
        if machine.problem:
            continue
        if abs(machine.clock_s) > _CLOCK_S:
            found.append(
                f"the clock of {machine.name} is {machine.clock_s:+.0f} s off this "
                "machine's: times in logs will not agree."
            )
        if machine.answer["free_bytes"] < _LEAST_BYTES:
            folder = wanted.logs or wanted.folder
            free_mb = machine.answer["free_bytes"] / 1e6
            found.append(f"{machine.name} has {free_mb:.0f} MB left on {folder}.")
    return found
