"""The network between hosts: latency, strangers on it, and ways of ssh around it."""

from __future__ import annotations

import re
import sys

import pytest

from tests.cluster.hosts import STATE, Hosts, address_of
from tests.cluster.test_jobs import (
    LASTS_S,
    LINK_TIMEOUT_S,
    SCRIPT,
    assert_nothing_is_left,
    command,
    cut,
    losses,
)
from tests.processes import ROOT, wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.horovod,
    pytest.mark.mpi,
    pytest.mark.slow,
]

DELAY_MS = 20
STRANGERS = ROOT / "tests" / "cluster" / "strangers.py"
JUMP_PORT, USER = 2222, "trainer"
# Through the second machine, as another user of it and at another port.
JUMP = f"Host node2\n  Port {JUMP_PORT}\n  User {USER}\nHost node3\n  ProxyJump node2\n"


def test_hosts_are_as_far_apart_as_asked_for(made_hosts):
    made_hosts.down()  # hosts exist once on a machine
    try:
        with Hosts(2, DELAY_MS) as hosts:
            words = (sys.executable, "-m", "hfdt.cli", "doctor", "-H", "node1,node2")
            done = hosts.run("node1", *words)
    finally:
        made_hosts.up()
    (one_way_ms,) = re.findall(r"node1 to node2: ([\d.]+) ms one way", done.stdout)
    assert DELAY_MS <= float(one_way_ms) < 2 * DELAY_MS


@pytest.mark.parametrize(
    ("program", "keeper", "stranger"),
    [("hfdt", "node1", "node3"), ("nfdt", "node3", "node2")],
)
def test_strangers_at_the_control_line_change_nothing(
    hosts, folder, program, keeper, stranger
):
    fit = (SCRIPT, "epochs", 40)
    alone = hosts.run("node1", sys.executable, *fit, folder=folder)
    with hosts.start("node1", *command(program), *fit, folder=folder) as job:
        job.wait_for_text("epoch 1 on node1")
        own = address_of(keeper)
        # MPI listens on all interfaces, and is not what is tried here.
        (line,) = hosts.run(keeper, "ss", "-Hltnp", "src", own).stdout.splitlines()
        port = line.split()[3].rpartition(":")[2]
        words = (sys.executable, STRANGERS, own, port)
        with hosts.start(stranger, *words) as strangers:
            strangers.wait_for_text("all have come")
            assert job.returncode is None
            done = job.ended(LASTS_S)
    assert done.returncode == 0, done.stderr
    assert len(losses(done.stdout)) == 1, done.stdout
    if program == "hfdt":
        assert losses(done.stdout) == losses(alone.stdout)


def test_ssh_may_have_to_jump_to_another_port_as_another_user(hosts, folder):
    passwd, log = folder / "passwd", folder / "sshd.log"
    with open("/etc/passwd") as file:  # root by another name: Python may be root's
        passwd.write_text(f"{file.read()}{USER}:x:0:0::/tmp:/bin/bash\n")
    hosts.run("node2", "mount", "--bind", passwd, "/etc/passwd")
    sshd = ("/usr/sbin/sshd", "-f", STATE / "sshd_config", "-E", log, "-p", JUMP_PORT)
    assert not hosts.run("node2", *sshd).returncode
    listening = ("ss", "-Hltn", "sport", f":{JUMP_PORT}")
    wait_until(lambda: hosts.run("node2", *listening).stdout, "the second sshd", 10)
    path = STATE / "ssh_config"
    path.write_text(JUMP + path.read_text())
    done = hosts.run("node1", *command("hfdt"), SCRIPT, "epochs", 2, folder=folder)
    assert done.returncode == 0, done.stderr
    assert len(losses(done.stdout)) == 1, done.stdout
    # Each machine is looked at, and then started from.
    assert log.read_text().count(f"Accepted publickey for {USER}") == 4


def test_servers_have_hosts_of_their_own(hosts, folder):
    words = command("nfdt", "--servers", 2, "--algorithm", "asgd")
    words = [word.replace("node1:1", "node1:2") for word in map(str, words)]
    with hosts.start("node1", *words, SCRIPT, "epochs", 20, folder=folder) as job:
        job.wait_for_text("epoch 1 on node1")
        ranks = {host: len(ranks_on(hosts, host)) for host in hosts.names}
        done = job.ended(LASTS_S)
    assert ranks == {"node1": 2, "node2": 1, "node3": 1}
    assert done.returncode == 0, done.stderr
    assert len(losses(done.stdout)) == 1, done.stdout


def ranks_on(hosts, host):
    return [
        pid
        for pid, words in hosts.pids(host).items()
        if words.startswith(f"{sys.executable} -m nfdt ")
    ]


@pytest.mark.parametrize("program", ["hfdt", "nfdt"])
def test_ranks_end_by_themselves_without_the_machine_of_the_launcher(
    hosts, folder, program
):
    with hosts.start("node1", *command(program), SCRIPT, folder=folder) as job:
        job.wait_for_text("epoch 1 on node1")
        cut("node1")(hosts, job)
        wait_until(
            lambda: not (hosts.pids("node2") or hosts.pids("node3")),
            f"the end of {hosts.pids('node2')} and {hosts.pids('node3')}",
            LINK_TIMEOUT_S + 15,
        )
        done = job.ended(LINK_TIMEOUT_S + 15)
    assert done.returncode != 0
    assert_nothing_is_left(hosts)
