"""Pods of Kubernetes, played by hosts: each has a network and a name of its own.

The commands are those of the manifests; only paths and names differ that a host of
namespaces cannot have.
"""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest
import yaml

from fdtcore.launcher.engines.kubernetes import HOSTFILE, manifest
from fdtcore.launcher.engines.pod_job import PodJob
from tests.cluster.hosts import address_of
from tests.cluster.test_jobs import GONE_S, SCRIPT, assert_nothing_is_left, losses
from tests.processes import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.horovod, pytest.mark.slow]
WORKERS = ("node2", "node3")
# What the MPI operator sets in the launcher's pod; all but one for Open MPI 4 alone.
OPERATORS = {
    "K_MPI_JOB_ROLE": "launcher",
    "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
    "OMPI_MCA_plm_rsh_args": "-o ConnectionAttempts=10",
    "OMPI_MCA_orte_set_default_slots": "1",
}


def pod_job(program, *words, **more):
    """Three processes, of which one is a server under NFDT."""
    command = (str(SCRIPT), *map(str, words))
    np = 3 if program == "hfdt" else 2
    return PodJob("train", "image", program, command, 3, np, **more)


def command_of(kind, job):
    """Returns the command of the manifest that has the user's program."""
    found = []

    def look(data):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            if key == "command" and str(SCRIPT) in value:
                found.append(value)
            elif isinstance(value, dict | list):
                look(value)

    look(list(yaml.safe_load_all(manifest(kind, job))))
    (words,) = found
    assert words[0] == "python"
    return [sys.executable, *words[1:]]


def start_rank(hosts, rank, folder, *words):
    job = pod_job("hfdt", *words, rank_module="hfdt.pod_rank")
    command = [
        "node1" if word == "train-0.train" else word for word in command_of("job", job)
    ]
    told = {"JOB_COMPLETION_INDEX": str(rank)}
    return hosts.start(hosts.names[rank], *command, folder=folder, **told)


@pytest.mark.smoke
def test_the_pods_of_an_indexed_job_train_as_one_process_does(hosts, folder):
    alone = hosts.run("node1", sys.executable, SCRIPT, "epochs", 2, folder=folder)
    # The first one is the last to come.
    ranks = [start_rank(hosts, rank, folder, "epochs", 2) for rank in (2, 1, 0)]
    done = [rank.ended() for rank in ranks]
    assert [one.returncode for one in done] == [0, 0, 0], done
    # Each pod's log has what its rank says.
    assert [losses(one.stdout) for one in done] == [losses(alone.stdout)] * 3
    assert not (folder / "hfdt-logs").exists()
    assert_nothing_is_left(hosts)


@pytest.mark.parametrize(
    ("what", "code", "text"),
    [("raise", 1, "this machine is not as the others"), ("exit", 7, "SystemExit: 7")],
)
def test_every_pod_ends_with_the_first_rank_that_fails(hosts, folder, what, code, text):
    ranks = [start_rank(hosts, rank, folder, what, 2) for rank in (0, 1, 2)]
    done = [rank.ended() for rank in ranks]
    assert done[2].returncode == code, done[2]
    assert text in done[2].stderr
    assert all(one.returncode for one in done), done
    assert_nothing_is_left(hosts)


def test_a_killed_rank_is_named_in_the_log_of_its_pod(hosts, folder):
    ranks = [start_rank(hosts, rank, folder) for rank in (0, 1, 2)]
    ranks[1].wait_for_text("epoch 1")
    for pid, words in hosts.pids("node2").items():
        if "-m hfdt " in words:
            os.kill(pid, signal.SIGKILL)
    done = [rank.ended() for rank in ranks]
    assert done[1].returncode == 137
    assert "rank 1/3 (node2) was killed by signal 9 (SIGKILL)" in done[1].stderr
    assert all(one.returncode for one in done), done
    assert_nothing_is_left(hosts)


def test_a_pod_that_is_deleted_ends_at_once(hosts, folder):
    ranks = [start_rank(hosts, rank, folder) for rank in (0, 1, 2)]
    ranks[2].wait_for_text("epoch 1")
    for host in hosts.names:
        for pid, words in hosts.pids(host).items():
            if "hfdt.pod_rank" in words:
                os.kill(pid, signal.SIGTERM)
    codes = [rank.ended(GONE_S).returncode for rank in ranks]
    # One that was told later may have heard of it from the others before.
    assert codes[0] == 128 + signal.SIGTERM
    assert all(codes)
    assert_nothing_is_left(hosts)


@pytest.mark.parametrize("program", ["hfdt", "nfdt"])
def test_the_launcher_of_an_mpijob_waits_for_its_workers(hosts, folder, program):
    """Names are as the operator makes them, which differ from those of the hosts."""
    names = [f"train-worker-{n}.train.default.svc" for n in range(len(WORKERS))]
    known = [f"{address_of(w)} {n}" for w, n in zip(WORKERS, names, strict=True)]
    for host in hosts.names:
        hosts.stop_host(host)
        hosts.name_hosts(host, *known)
    for host in ("node1", "node2"):
        hosts.start_host(host)
    (folder / "hostfile").write_text("".join(f"{name} slots=2\n" for name in names))
    job = pod_job(program, "epochs", 2, slots=2)
    words = command_of("mpijob", job)
    assert words.count(HOSTFILE) == 2
    # The hosts' sshd has the usual port.
    changed = {HOSTFILE: folder / "hostfile", "2222": "22", program: f"{program}.cli"}
    words = [changed.get(word, word) for word in words]
    at = words.index(f"{program}.cli")
    words[at:at] = [sys.executable, "-m"]
    told = {**OPERATORS, "OMPI_MCA_orte_default_hostfile": str(folder / "hostfile")}
    launcher = hosts.start("node1", *words, folder=folder, **told)
    wait_until(lambda: hosts.pids("node1"), "the launcher", GONE_S)
    hosts.start_host("node3")
    done = launcher.ended()
    assert done.returncode == 0, done
    assert re.findall(r"^loss ", done.stdout, re.M), done
    assert "epoch 1 on node2" in done.stdout
    assert_nothing_is_left(hosts)
