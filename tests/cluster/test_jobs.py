"""Jobs on three hosts: that they start in every way, and how they end when broken."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import sys
import time
from collections.abc import Callable

import pytest

from tests.cluster.hosts import Hosts
from tests.processes import ROOT, Process, wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.horovod,
    pytest.mark.mpi,
    pytest.mark.slow,
]

SCRIPT = ROOT / "tests" / "cluster" / "script.py"
THREE = "node1:1,node2:1,node3:1"
LINK_TIMEOUT_S = 6
# Of the host, its launcher and the ranks, from the fault to the end of all.
GONE_S = 10
# A job that goes on without one of its machines.
LASTS_S = 120
# Open MPI's, the shell's and ours, which no user is to read.
NOISE = ("/fdtcore/", "plm:ssh", "Epoll", "MPI_ERR", "peer process", "daemon", "\0")


def command(program, *options, size=None):
    """HFDT on three ranks, NFDT on two workers and a server: one process a host."""
    size = size or (3 if program == "hfdt" else 2)
    words = (sys.executable, "-m", f"{program}.cli", "run", "-np", size, "-H", THREE)
    return (*words, "--link-timeout", LINK_TIMEOUT_S, *options)


def losses(text):
    return re.findall(r"\bloss (\S+)", text)


def assert_nothing_is_left(hosts: Hosts) -> None:
    def left():
        return {pid: w for host in hosts.names for pid, w in hosts.pids(host).items()}

    wait_until(lambda: not left(), f"the end of {left()}", GONE_S)


LAUNCHES = {
    "hfdt": command("hfdt"),
    "nfdt": command("nfdt"),
    "two servers": command("nfdt", "--servers", 2, "--algorithm", "asgd", size=1),
    "mpirun": (
        *("mpirun", "-x", "PATH", "-x", "PYTHONPATH", "--bind-to", "none"),
        *("--host", "node1,node2,node3", "-np", 3, sys.executable, "-m", "hfdt"),
    ),
    "horovodrun mpi": (
        *("horovodrun", "--mpi", "-np", 3, "-H", THREE, sys.executable, "-m", "hfdt"),
    ),
    "horovodrun gloo": (
        *("horovodrun", "--gloo", "-np", 3, "-H", THREE, sys.executable, "-m", "hfdt"),
    ),
}


@pytest.mark.parametrize("way", LAUNCHES)
def test_a_job_starts_on_three_hosts(hosts, folder, way):
    done = hosts.run("node1", *LAUNCHES[way], SCRIPT, "epochs", 2, folder=folder)
    assert done.returncode == 0, done.stderr
    assert len(losses(done.stdout)) == 1, done.stdout
    assert_nothing_is_left(hosts)


@pytest.mark.smoke
def test_three_hosts_give_the_loss_of_one(hosts, folder):
    alone = hosts.run("node1", sys.executable, SCRIPT, "epochs", 2, folder=folder)
    done = hosts.run("node1", *command("hfdt"), SCRIPT, "epochs", 2, folder=folder)
    assert done.returncode == 0, done.stderr
    assert losses(done.stdout) == losses(alone.stdout)


def test_compressed_gradients_train_on_two_hosts(hosts, folder):
    words = (sys.executable, "-m", "hfdt.cli", "run", "-np", 2, "-H", "node1:1,node2:1")
    chosen = ("--compression", "dgc:0.01,warmup=3")
    script = ROOT / "examples" / "digits_single.py"
    done = hosts.run("node1", *words, *chosen, script, folder=folder, lean=False)
    assert done.returncode == 0, done.stderr
    saved = re.search(r"compression: sent 1/(\S+) of the bytes of", done.stderr)
    assert saved and float(saved[1]) > 5, done.stderr
    (accuracy,) = re.findall(r"test accuracy (\S+),", done.stdout)
    assert float(accuracy) > 0.9


NETWORKS = {
    "a bridge of Docker": lambda hosts: [
        add(hosts, name, "docker0", "172.17.0.1/16") for name in hosts.names
    ],
    "a network without a cable": lambda hosts: [
        add(hosts, name, "eth1", f"10.69.0.{name[-1]}/24") for name in hosts.names
    ],
    "a machine that knows itself as 127.0.1.1": lambda hosts: [
        hosts.name_hosts(name, f"127.0.1.1 {name}") for name in hosts.names
    ],
}


def add(hosts, host, name, address):
    """Adds an interface that is up, and leads nowhere."""
    for words in (
        f"ip link add {name} type veth peer name {name}-end",
        f"ip addr add {address} dev {name}",
        f"ip link set {name} up",
        f"ip link set {name}-end up",
    ):
        done = hosts.run(host, *words.split())
        assert not done.returncode, done.stderr


@pytest.mark.parametrize("program", ["hfdt", "nfdt"])
@pytest.mark.parametrize("what", NETWORKS)
def test_the_network_that_leads_to_the_others_is_taken(hosts, folder, what, program):
    NETWORKS[what](hosts)
    try:
        done = hosts.run("node1", *command(program), SCRIPT, "epochs", 2, folder=folder)
    finally:
        for host in hosts.names:
            for name in ("docker0", "eth1"):
                hosts.run(host, "ip", "link", "del", name)
    assert done.returncode == 0, done.stderr
    assert losses(done.stdout)


@dataclasses.dataclass(frozen=True)
class Row:
    """A job that is broken while it trains.

    Args:
        program: ``hfdt`` or ``nfdt``.
        what: What happens, for reports.
        act: Does it.
        said: Pattern of what is said at the end, or of a line before.
        code: The exit code of the command.
        within_s: From then on until it has ended; None: it goes on.
        words: Of the script; empty for a fit that lasts.
    """

    program: str
    what: str
    act: Callable[[Hosts, Process], object]
    said: str
    code: int
    within_s: float | None = GONE_S
    words: tuple[str, ...] = ()


def rank_on(hosts, host):
    """Returns the process of a rank: the one that runs the script."""
    found = [
        pid
        for pid, w in hosts.pids(host).items()
        if " -m " in w and " run " not in w and SCRIPT.name in w
    ]
    return max(found)


def kill_on(host):
    return lambda hosts, job: os.kill(rank_on(hosts, host), signal.SIGKILL)


def cut(host):
    return lambda hosts, job: hosts.cut(host)


def reset(host):
    return lambda hosts, job: hosts.stop_host(host)


def send(number):
    return lambda hosts, job: os.kill(launcher(hosts), number)


def launcher(hosts):
    return min(pid for pid, words in hosts.pids("node1").items() if ".cli run" in words)


def nothing(hosts, job):
    pass


CUT = r"{host} cannot be reached: the machine or the network to it is down\. {name}"


def stopped(program, number):
    """Returns the row of a signal that ends a job."""
    said = rf"stopped by {number.name}; every rank has ended\."
    return Row(program, number.name, send(number), said, 128 + number)


RESET = r"{} is gone: the machine was reset or turned off.*Start it again"
ROWS = (
    Row(
        "hfdt",
        "kill -9 of a rank",
        kill_on("node3"),
        r"rank 2/3 \(node3.*(SIGKILL|died silently)",
        137,
    ),
    Row(
        "hfdt",
        "an exception",
        nothing,
        r"rank 1/3 \(node2\) failed: ValueError: this machine is not",
        1,
        60,
        ("raise", "1"),
    ),
    Row(
        "hfdt",
        "an exit code",
        nothing,
        r"rank 2/3 \(node3\) failed: SystemExit: 7",
        7,
        60,
        ("exit", "2"),
    ),
    Row(
        "hfdt",
        "a cable is pulled",
        cut("node3"),
        CUT.format(host="node3", name="rank 2/3"),
        1,
        20,
    ),
    Row("hfdt", "a machine is reset", reset("node3"), RESET.format("node3"), 1, 20),
    stopped("hfdt", signal.SIGTERM),
    stopped("hfdt", signal.SIGINT),
    stopped("hfdt", signal.SIGHUP),
    Row("hfdt", "kill -9 of the launcher", send(signal.SIGKILL), r"", -9),
    Row("hfdt", "USR1", send(signal.SIGUSR1), r"SIGUSR1", 138),
    Row(
        "nfdt",
        "kill -9 of a worker",
        kill_on("node2"),
        r"worker 1 \(rank 1\) was lost; 1 worker goes on",
        0,
        None,
        ("epochs", "80"),
    ),
    Row(
        "nfdt",
        "kill -9 of the server",
        kill_on("node3"),
        r"server 0 \(rank 2\) is gone",
        1,
    ),
    Row(
        "nfdt",
        "a worker's cable is pulled",
        cut("node2"),
        CUT.format(host="node2", name="worker 1"),
        0,
        None,
        ("epochs", "120"),
    ),
    Row(
        "nfdt",
        "the server's cable is pulled",
        cut("node3"),
        CUT.format(host="node3", name="server 0"),
        1,
        20,
    ),
    Row("nfdt", "a machine is reset", reset("node2"), RESET.format("node2"), 1, 20),
    stopped("nfdt", signal.SIGTERM),
    Row("nfdt", "kill -9 of the launcher", send(signal.SIGKILL), r"", -9),
)


def broken_rows():
    return [pytest.param(row, id=f"{row.program} {row.what}") for row in ROWS]


@pytest.mark.parametrize("row", broken_rows())
def test_a_job_that_is_broken(hosts, folder, row):
    words = (*command(row.program), SCRIPT, *row.words)
    with hosts.start("node1", *words, folder=folder) as job:
        job.wait_for_text("epoch 1 on node1")
        began_s = time.monotonic()
        row.act(hosts, job)
        done = job.ended(row.within_s or LASTS_S)
        took_s = time.monotonic() - began_s
    assert re.search(row.said, done.stderr), done.stderr
    assert done.returncode == row.code, done.stderr
    assert not any(word in done.stderr for word in NOISE), done.stderr
    if row.within_s is None:
        assert len(losses(done.stdout)) == 1, done.stdout
    print(f"{row.program}, {row.what}: {took_s:.1f} s")
    assert_nothing_is_left(hosts)


@pytest.mark.parametrize("program", ["hfdt", "nfdt"])
def test_a_link_that_comes_back_in_time_is_as_if_nothing_had_been(
    hosts, folder, program
):
    with hosts.start(
        "node1", *command(program), SCRIPT, "epochs", 40, folder=folder
    ) as job:
        job.wait_for_text("epoch 1 on node1")
        hosts.cut("node2")
        time.sleep(LINK_TIMEOUT_S / 3)
        hosts.mend("node2")
        done = job.ended(LASTS_S)
    assert done.returncode == 0, done.stderr
    assert len(losses(done.stdout)) == 1, done.stdout
    assert "cannot be reached" not in done.stderr


@pytest.mark.smoke
@pytest.mark.parametrize("program", ["hfdt", "nfdt"])
def test_doctor_shows_machines_and_what_is_between_them(hosts, program):
    hosts.limit("node2", 100)
    words = (sys.executable, "-m", f"{program}.cli", "doctor", "-H", "node1,node2")
    done = hosts.run("node1", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert re.search(r"^node2 +\d+ cores, Python .*tensorflow .*clock", said, re.M)
    assert re.search(r"^network +10\.66\.0\.0/24$", said, re.M)
    measured = re.findall(
        r"(node\d) to (node\d): [\d.]+ ms one way, (\d+) Mbit/s", said
    )
    assert [row[:2] for row in measured] == [("node1", "node2"), ("node2", "node1")]
    assert all(50 < int(mbit_per_s) < 130 for *_, mbit_per_s in measured)
    assert said.endswith("Nothing is wrong.\n")


def test_doctor_names_what_is_wrong(hosts):
    hosts.stop_host("node3")
    words = (sys.executable, "-m", "hfdt.cli", "doctor", "-H", "node1,node2,node3")
    done = hosts.run("node1", *words)
    assert done.returncode == 1
    assert "WRONG: node3: ssh: connect to host node3 port 22" in done.stdout
    assert done.stdout.endswith("1 wrong.\n")


def test_a_variable_that_is_named_reaches_the_other_machines(hosts, folder):
    (folder / "train.py").write_text("import os; print(os.environ.get('GREETING'))")
    logs = folder / "logs"
    words = (*command("hfdt", "--output", logs), "train.py")
    for more, said in ((), "None"), (("-x", "GREETING"), "hello"):
        done = hosts.run(
            *("node1", *words[:-1], *more, words[-1]), folder=folder, GREETING="hello"
        )
        assert done.returncode == 0, done.stderr
        assert (logs / "rank-2.log").read_text().splitlines()[-1] == said
