"""Slurm on the hosts: one controller, a daemon on each, and two cores to give away.

Its programs are on the hosts alone: packages of Debian that were unpacked into a
folder, which lies over ``/usr`` there.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from typing import Any

from tests import processes
from tests.cluster.hosts import CACHE, STATE, Hosts
from tests.processes import Process

PACKAGES = CACHE / "slurm" / "usr"
CORES = 2  # of each host
_FOLDER = STATE / "slurm"
_START_S = 20
_OWN = ("munged ", "slurmctld ", "slurmd ", "slurmstepd: ", ": slurmscriptd")
_CONFIGURATION = """\
ClusterName=hosts
SlurmctldHost={first}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
SchedulerParameters=sched_interval=1
NodeName={names} CPUs={cores} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# In a network namespace /sys is another one, which has no groups of processes.
_CGROUPS = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"


def missing() -> str | None:
    """Says in one line what is missing here for Slurm; None where nothing is."""
    if not (PACKAGES / "sbin" / "slurmd").exists():
        return f"no Slurm in {PACKAGES} (scripts/host_packages.sh all; needs Debian)"
    return None


class Slurm:
    """Slurm on hosts that are up, for as long as this context lasts.

    Args:
        hosts: Where it runs; each is started again with Slurm's programs.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.variables = {"SLURM_CONF": str(_FOLDER / "slurm.conf")}

    def __enter__(self) -> Slurm:
        try:
            self._up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._hosts.overlay = None
        for name in self._hosts.names:
            self._hosts.stop_host(name)  # and all that it runs
        for daemon in self._daemons:
            daemon.wait()

    def _up(self) -> None:
        shutil.rmtree(_FOLDER, ignore_errors=True)
        (_FOLDER / "controller").mkdir(parents=True)
        _FOLDER.chmod(0o755)  # munged distrusts one that all may write to
        names = self._hosts.names
        (_FOLDER / "slurm.conf").write_text(
            _CONFIGURATION.format(
                folder=_FOLDER, first=names[0], names=",".join(names), cores=CORES
            )
        )
        (_FOLDER / "cgroup.conf").write_text(_CGROUPS)
        (_FOLDER / "munge.key").write_bytes(os.urandom(1024))
        (_FOLDER / "munge.key").chmod(0o400)
        self._hosts.overlay = PACKAGES
        for name in names:
            self._hosts.start_again(name)
        # One serves all hosts: its socket is a file on the disk that they share.
        files = {"key-file": "key", "pid-file": "pid", "log-file": "log"}
        files |= {"socket": "socket", "seed-file": "seed"}
        words = [f"--{option}={_FOLDER}/munge.{end}" for option, end in files.items()]
        self._start(names[0], "munged", "--foreground", "--force", *words)
        self._start(names[0], "slurmctld", "-D")
        for name in names:
            (_FOLDER / f"spool.{name}").mkdir()
            self._start(name, "slurmd", "-D", "-N", name)
        wanted = f"{len(names)}\n"
        processes.wait_until(
            lambda: self.run("sinfo", "-h", "-t", "idle", "-o", "%D").stdout == wanted,
            "Slurm",
            _START_S,
        )

    def _start(self, host: str, *words: str) -> None:
        self._daemons.append(
            subprocess.Popen(
                self._hosts.words(host, pathlib.Path("/"), words),
                env=processes.environ(**self.variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def run(self, *words: object, **more: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command on the first host to its end, as `Hosts.run` does."""
        return self._hosts.run(self._hosts.names[0], *words, **self.variables, **more)

    def start(self, *words: object, **more: Any) -> Process:
        """Starts a command on the first host, as `Hosts.start` does."""
        return self._hosts.start(self._hosts.names[0], *words, **self.variables, **more)

    def pids(self) -> dict[int, str]:
        """Returns what runs on all hosts beside Slurm: pid -> command line."""
        found = {}
        for host in self._hosts.names:
            found |= self._hosts.pids(host)
        return {pid: w for pid, w in found.items() if not w.startswith(_OWN)}
