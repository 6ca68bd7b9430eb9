"""What keeps a machine from taking part is named in a line before anything starts."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable

import pytest

from tests.cluster.hosts import NOBODY, STATE, Hosts
from tests.processes import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.mpi, pytest.mark.slow]

LIMIT_S = 10
SCRIPT = ROOT / "tests" / "cluster" / "script.py"
NUMPY = next(pathlib.Path(sys.prefix).glob("lib/*/site-packages/numpy-*.dist-info"))


@dataclasses.dataclass(frozen=True)
class Row:
    """One machine that cannot take part.

    Args:
        what: What is wrong, for reports.
        said: What the last line says, in part.
        breaks: Breaks it.
        hosts: The value of ``-H``.
        options: Further options.
        script: Program to run.
        folder: Where the command is given, if not in the project.
    """

    what: str
    said: str
    breaks: Callable[[Hosts], object] = lambda hosts: None
    hosts: str = "node1:1,node2:1"
    options: tuple[str, ...] = ()
    script: str = str(SCRIPT)
    folder: str = ""


def on(host, *words):
    return lambda hosts: hosts.run(host, "sh", "-c", " ".join(map(str, words)))


def ssh_with(*lines):
    def breaks(hosts):
        path = STATE / "ssh_config"
        first = "".join(f"  {line}\n" for line in lines)
        path.write_text(f"Host node2\n{first}{path.read_text()}")

    return breaks


def stop_sshd(hosts):
    os.kill(int((STATE / "node2" / "pid").read_text()), signal.SIGSTOP)


OLD_NUMPY = (
    f"cp {NUMPY}/METADATA /tmp/m; sed -i 's/^Version: .*/Version: 1.0/' /tmp/m;",
    f"mount --bind /tmp/m {NUMPY}/METADATA",
)
ROWS = (
    Row("a name that nobody knows", "hosts must be known", hosts="node1:1,node7:1"),
    Row(
        "a machine that is down",
        f"{NOBODY}: ssh: connect to host {NOBODY} port 22: No route to host. Is it up",
        hosts=f"node1:1,{NOBODY}:1",
    ),
    Row(
        "a machine without an sshd",
        "Connection refused. Start its sshd",
        lambda hosts: hosts.stop_host("node3"),
        hosts="node1:1,node3:1",
    ),
    Row("a cable that is out", "Is it up", lambda hosts: hosts.cut("node2")),
    Row("an sshd that is silent", "Is it up", stop_sshd),
    Row(
        "ssh asks for a password",
        "Log in without a password: ssh-copy-id node2.",
        ssh_with("PubkeyAuthentication no"),
    ),
    Row("another port", "Connection refused. Start its sshd", ssh_with("Port 23")),
    Row(
        "a key that was never accepted",
        "Accept its key once: ssh node2.",
        ssh_with("StrictHostKeyChecking yes"),
    ),
    Row(
        "no environment",
        f"node2 has no {sys.executable}: ",
        on("node2", "mount -t tmpfs none", sys.prefix),
    ),
    Row(
        "without the project",
        f"node2 has no fdtcore in {sys.executable}. Install the same there",
        on("node2", "mount -t tmpfs none", ROOT / "fdtcore"),
    ),
    Row(
        "another version",
        "node2 has numpy 1.0, and node1 numpy",
        on("node2", *OLD_NUMPY),
    ),
    Row(
        "without the folder",
        "node2 has no folder /tmp/here. Share it",
        on("node1", "mkdir /tmp/here"),
        folder="/tmp/here",
    ),
    Row(
        "without the script",
        "node2 has no /tmp/here/train.py. Share its folder",
        lambda hosts: [
            on("node1", "mkdir /tmp/here; touch /tmp/here/train.py")(hosts),
            on("node2", "mkdir /tmp/here")(hosts),
        ],
        script="train.py",
        folder="/tmp/here",
    ),
    Row(
        "a full disk",
        "node2 cannot write to /mnt/logs: No space left on device. Choose another",
        on(
            *("node2", "mount -t tmpfs -o size=32k none /mnt;"),
            "dd if=/dev/zero of=/mnt/full bs=1k count=32",
        ),
        options=("--output", "/mnt/logs"),
    ),
    Row(
        "a folder that may only be read",
        "node2 cannot write to /mnt/logs: Read-only file system",
        on("node2", "mount -t tmpfs -o ro none /mnt"),
        options=("--output", "/mnt/logs"),
    ),
    Row("a variable that is not set", "-x must name", options=("-x", "NO_SUCH")),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_a_machine_that_cannot_take_part_is_named(hosts, row):
    program = "nfdt" if ROWS.index(row) % 2 else "hfdt"
    row.breaks(hosts)
    began_s = time.monotonic()
    command = (sys.executable, "-m", f"{program}.cli", "run", "-np", "2")
    more = {"folder": pathlib.Path(row.folder)} if row.folder else {}
    done = hosts.run(
        *("node1", *command, "-H", row.hosts, *row.options, row.script),
        time_limit_s=2 * LIMIT_S,
        **more,
    )
    took_s = time.monotonic() - began_s
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"{program}: ") and row.said in last, done.stderr
    assert done.returncode == 2
    assert took_s < LIMIT_S
    assert not hosts.pids("node1"), "something is left on the machine of the launcher"
    assert "Traceback" not in done.stderr
