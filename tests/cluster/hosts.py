"""Hosts made of namespaces: each with its own network, name, processes and ``/tmp``.

They share one disk and one kernel. The switch between them is in a namespace of its
own, so that nothing they send can leave this machine. As root on Linux only.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from tests import processes
from tests.processes import ROOT, Process

NETWORK = "10.66.0"
SWITCH = "fdt-switch"
NOBODY = "node9"  # has a name, and is no machine
STATE = pathlib.Path("/run/fdt-hosts")
# What only hosts have: scripts/host_packages.sh puts it there.
CACHE = pathlib.Path("/var/cache/fdt-hosts")
_HERE = pathlib.Path(__file__).parent
_START_S = 20
_SSHD = """\
HostKey {state}/hostkey
AuthorizedKeysFile {state}/id.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
"""
_SSH = """\
Host *
  IdentityFile {state}/id
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
"""


def missing() -> str | None:
    """Says in one line what is missing here to make hosts; None where nothing is."""
    if sys.platform != "linux":
        return "hosts of namespaces need Linux"
    if os.getuid() != 0:
        return "hosts of namespaces need root"
    packages = {"ip": "iproute2", "sshd": "openssh-server", "unshare": "util-linux"}
    lacking = [
        package
        for name, package in packages.items()
        if not shutil.which(name, path=_environ()["PATH"])
    ]
    if lacking:
        return (
            f"not installed: {', '.join(lacking)} (apt-get install {' '.join(lacking)})"
        )
    apart = ("unshare", "--uts", "--ipc", "--pid", "--mount", "--net", "--fork")
    for words in (
        ("ip", "netns", "add", "fdt-try"),
        ("ip", "netns", "del", "fdt-try"),
        (*apart, "mount", "-t", "tmpfs", "none", "/mnt"),
        (*apart, "ip", "link", "add", "fdt-try", "type", "bridge"),
    ):
        answer = subprocess.run(words, env=_environ(), capture_output=True, text=True)
        if answer.returncode:
            return f"this machine refuses {' '.join(words)}: {answer.stderr.strip()}"
    return None


class Hosts:
    """Hosts ``node1`` to ``nodeN``, for as long as this context lasts.

    Args:
        count: Number of hosts.
        delay_ms: One-way latency between two hosts; 0 for the kernel's own bridge.
    """

    def __init__(self, count: int, delay_ms: float = 0) -> None:
        self.names = tuple(f"node{number}" for number in range(1, count + 1))
        self._delay_ms = delay_ms
        self._relay: subprocess.Popen[bytes] | None = None
        # Lies over /usr on hosts that start from now on; None for nothing.
        self.overlay: pathlib.Path | None = None

    def __enter__(self) -> Hosts:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.down()

    def up(self) -> None:
        """Makes the hosts; returns when each takes connections."""
        STATE.mkdir(parents=True)  # fails where others have hosts up
        for name in ("id", "hostkey"):
            _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", STATE / name)
        (STATE / "sshd_config").write_text(_SSHD.format(state=STATE))
        self.configure_ssh()
        _call("ip", "netns", "add", SWITCH)
        for name in self.names:
            (STATE / name / "tmp").mkdir(parents=True)
            self.name_hosts(name)
            _call("ip", "netns", "add", name)
        self._connect()
        for name in self.names:
            _call("ip", "-n", name, "link", "set", "lo", "up")
            self.start_host(name)

    def _connect(self) -> None:
        if self._delay_ms:
            nodes = {name: f"{address_of(name)}/24" for name in self.names}
            spec = {"nodes": nodes, "delay_ms": self._delay_ms}
            (STATE / "relay.json").write_text(json.dumps(spec))
            self._relay = subprocess.Popen(
                [sys.executable, _HERE / "relay.py", STATE / "relay.json"],
                stdout=subprocess.PIPE,
            )
            assert self._relay.stdout is not None
            assert self._relay.stdout.readline() == b"ready\n"
            return
        _call("ip", "-n", SWITCH, "link", "add", "br0", "type", "bridge")
        _call("ip", "-n", SWITCH, "link", "set", "br0", "up")
        for name in self.names:
            far = ("peer", "name", "eth0", "netns", name)
            _call("ip", "-n", SWITCH, "link", "add", name, "type", "veth", *far)
            _call("ip", "-n", SWITCH, "link", "set", name, "master", "br0", "up")
            own = ("addr", "add", f"{address_of(name)}/24", "dev", "eth0")
            _call("ip", "-n", name, *own)
            _call("ip", "-n", name, "link", "set", "eth0", "up")

    def name_hosts(self, host: str, *more: str) -> None:
        """Writes the table of names of one host, with further lines of its own.

        To be called before the host starts; a host that runs reads it at once.
        """
        lines = ["127.0.0.1 localhost", *more]
        lines += [f"{address_of(name)} {name}" for name in (*self.names, NOBODY)]
        (STATE / host / "hosts").write_text("\n".join(lines) + "\n")

    def configure_ssh(self) -> None:
        """Lets all hosts log in to each other without a word."""
        (STATE / "ssh_config").write_text(_SSH.format(state=STATE))

    def start_again(self, host: str) -> None:
        """Makes a host what it was: nothing runs, nothing is mounted, all is known."""
        self.stop_host(host)
        self.start_host(host)

    def start_host(self, host: str) -> None:
        """Starts a host that is down, and waits until it takes connections."""
        project = {str(ROOT), str(pathlib.Path(sys.prefix).resolve())}
        shared = " ".join(sorted(p for p in project if p.startswith("/tmp/")))
        started = subprocess.Popen(
            [
                *("ip", "netns", "exec", host),
                *("unshare", "--uts", "--ipc", "--pid", "--mount", "--fork"),
                *("--kill-child", "bash", _HERE / "init_host.sh", host, STATE),
            ],
            env={
                **_environ(),
                "HOSTS_SHARED": shared,
                "HOSTS_OVERLAY": str(self.overlay or ""),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        first = processes.wait_until(
            lambda: _child_of(started.pid), f"the start of {host}", _START_S
        )
        (STATE / host / "pid").write_text(first)
        (STATE / host / "namespace").write_text(os.readlink(f"/proc/{first}/ns/pid"))
        processes.wait_until(lambda: _is_listening(host), f"sshd of {host}", _START_S)

    def stop_host(self, host: str) -> None:
        """Ends a host as a reset does: all its processes are gone at once."""
        first = STATE / host / "pid"
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(first.read_text()), signal.SIGKILL)
            processes.wait_until(lambda: not self.pids(host), f"the end of {host}", 10)
        first.unlink(missing_ok=True)  # the number may be another's from now on

    def down(self) -> None:
        """Ends the hosts and takes away what they were made of."""
        for name in self.names:
            self.stop_host(name)
            _try("ip", "netns", "del", name)
        if self._relay is not None:
            self._relay.terminate()
            self._relay.wait()
        _try("ip", "netns", "del", SWITCH)
        shutil.rmtree(STATE, ignore_errors=True)

    def start(
        self, host: str, *words: object, folder: pathlib.Path = ROOT, **more: Any
    ) -> Process:
        """Starts a command on a host; arguments as for `tests.processes.Process`."""
        return Process(*self.words(host, folder, words), **more)

    def run(
        self, host: str, *words: object, folder: pathlib.Path = ROOT, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on a host to its end, as `tests.processes.run` does."""
        return processes.run(*self.words(host, folder, words), **more)

    def words(
        self, host: str, folder: pathlib.Path, words: Iterable[object]
    ) -> list[str]:
        """Returns a command line that runs a command on a host."""
        first = (STATE / host / "pid").read_text()
        enter = ["nsenter", "--target", first, "--all"]
        # Only inside is the folder the host's own.
        there = ["sh", "-c", 'cd "$0" && exec "$@"', str(folder)]
        return [*enter, *there, *map(str, words)]

    def pids(self, host: str) -> dict[int, str]:
        """Returns what runs on a host beside its sshd: pid -> command line."""
        own, found = (STATE / host / "namespace").read_text(), {}
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has just ended
                words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if os.readlink(path / "ns" / "pid") == own and "sshd" not in words:
                    found[int(path.name)] = words
        return {pid: words for pid, words in found.items() if processes.is_running(pid)}

    def cut(self, host: str) -> None:
        """Pulls the cable of a host."""
        _call("ip", "-n", SWITCH, "link", "set", host, "down")

    def mend(self, host: str) -> None:
        """Puts the cable of a host in again."""
        _call("ip", "-n", SWITCH, "link", "set", host, "up")

    def limit(self, host: str, mbit_per_s: int) -> None:
        """Limits both directions of a host's link, in Mbit/s."""
        for namespace, device in ((SWITCH, host), (host, "eth0")):
            rate = ("rate", f"{mbit_per_s}mbit", "burst", "64kb", "latency", "50ms")
            where = ("dev", device, "root", "tbf")
            _call("tc", "-n", namespace, "qdisc", "replace", *where, *rate)


def address_of(host: str) -> str:
    """Returns the address of a host on the network of all."""
    return f"{NETWORK}.{host.removeprefix('node')}"


def _child_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()
    return ""


def _is_listening(host: str) -> bool:
    # From within: the host's network is seen from no other place.
    table = ("ss", "--listening", "--tcp", "--numeric", "--no-header")
    return b":22 " in _try("ip", "netns", "exec", host, *table).stdout


def _call(*words: object) -> None:
    _try(*words).check_returncode()


def _try(*words: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(list(map(str, words)), env=_environ(), capture_output=True)


def _environ() -> dict[str, str]:
    # Not on everybody's PATH.
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
