"""Elastic jobs on three hosts that lose machines, with their disks, and get new ones.

Folders of snapshots are in ``/tmp``, which each host has for itself.
"""

from __future__ import annotations

import os
import pathlib
import re
import signal
import sys

import numpy as np
import pytest

from tests.cluster.test_jobs import LINK_TIMEOUT_S, assert_nothing_is_left
from tests.processes import ROOT

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.horovod,
    pytest.mark.mpi,
    pytest.mark.slow,
]

SCRIPT = ROOT / "tests" / "cluster" / "elastic_script.py"
LASTS_S = 240
SNAPSHOT = ("--snapshot", "/tmp/s", "--snapshot-every", "4steps")


def command(*options):
    words = (sys.executable, "-m", "hfdt.cli", "run", *options, *SNAPSHOT)
    return (*words, "--link-timeout", LINK_TIMEOUT_S, "--restarts", "2", SCRIPT)


@pytest.fixture(scope="module")
def undisturbed(made_hosts, tmp_path_factory):
    """What the script comes to on one process."""
    out = pathlib.Path("/var/tmp/fdt-hosts-undisturbed.npz")
    words = (sys.executable, SCRIPT, out)
    done = made_hosts.run("node1", *words, BATCH_S="0")
    assert done.returncode == 0, done.stderr
    with np.load(out) as file:
        yield dict(file)
    out.unlink()


def assert_same(undisturbed, path):
    with np.load(path) as file:
        found = dict(file)
    assert found.keys() == undisturbed.keys()
    for name, value in undisturbed.items():
        np.testing.assert_allclose(found[name], value, 1e-5, 1e-5, err_msg=name)


def rank_on(hosts, host):
    """Returns the process of the rank on a host."""
    return max(p for p, w in hosts.pids(host).items() if f"-m hfdt {SCRIPT}" in w)


def copies_on(hosts, host):
    return hosts.run(host, "sh", "-c", "ls /dev/shm | grep fdt-copies").stdout.split()


def test_a_machine_is_lost_with_its_disk_and_comes_back(hosts, folder, undisturbed):
    words = command("-H", "node2,node3", "--min-np", 1)
    with hosts.start("node1", *words, folder / "out.npz", folder=folder) as job:
        job.wait_for_text("epoch 6 on node2")
        assert copies_on(hosts, "node3")
        hosts.stop_host("node2")
        job.wait_for_text("epoch 12 on node3")
        assert "1 rank train" in job.errors
        # Its /tmp is empty now; what node3 has is on its disk.
        hosts.start_host("node2")
        os.kill(rank_on(hosts, "node3"), signal.SIGKILL)
        job.wait_for_text("epoch 18 on node2")
        assert copies_on(hosts, "node3")
        done = job.ended(LASTS_S)
    print(done.stderr)
    assert done.returncode == 0, done.stderr
    said = done.stderr
    assert "node2 is gone: the machine was reset" in said
    assert "node2 is left out" in said
    assert "1 rank goes on from the newest snapshot on node3." in said
    assert "the newest snapshot is in the memory of node3: it is put into" in said
    assert "2 ranks go on from the newest snapshot on node2, node3." in said
    assert "the newest snapshot is on a disk of node3: it is put into" in said
    # A snapshot is kept every 4 batches: little was trained again.
    epochs = [int(n) for n in re.findall(r"goes on in fit 1, epoch (\d+)", said)]
    assert len(epochs) == 2
    assert epochs[0] >= 6
    assert epochs[1] >= 12
    assert "over after 25 epochs" in done.stdout
    assert_same(undisturbed, folder / "out.npz")
    assert_nothing_is_left(hosts)
    assert not copies_on(hosts, "node3")


def test_the_command_on_the_machine_that_is_left_goes_on(hosts, folder, undisturbed):
    words = command("-H", "node2,node3", "--min-np", 1)
    with hosts.start("node2", *words, folder / "out.npz", folder=folder) as job:
        job.wait_for_text("epoch 6 on node2")
        hosts.stop_host("node2")
        job.ended(LASTS_S)
    assert copies_on(hosts, "node3")
    words = command("-np", 1, "--resume", "auto")
    done = hosts.run("node3", *words, folder / "out.npz", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "the newest snapshot is in the memory of node3" in done.stderr
    assert "epoch 0 on" not in done.stdout
    assert_same(undisturbed, folder / "out.npz")
    assert not copies_on(hosts, "node3")


@pytest.mark.parametrize("host", ["node2", "node3"])
def test_a_link_that_is_cut_shrinks_a_job(hosts, folder, undisturbed, host):
    left = "node3" if host == "node2" else "node2"
    words = command("-H", "node2,node3", "--min-np", 1)
    with hosts.start("node1", *words, folder / "out.npz", folder=folder) as job:
        job.wait_for_text("epoch 6 on node2")
        hosts.cut(host)
        done = job.ended(LASTS_S)
    print(done.stderr)
    assert done.returncode == 0, done.stderr
    assert f"{host} is left out" in done.stderr
    assert f"1 rank goes on from the newest snapshot on {left}." in done.stderr
    assert "epoch 0 on node3" not in done.stdout
    assert f"epoch 24 on {left}" in done.stdout
    assert_same(undisturbed, folder / "out.npz")


def test_a_machine_that_is_named_joins(hosts, folder, undisturbed):
    table, program = folder / "machines", folder / "machines.sh"
    table.write_text("node2\n")
    program.write_text(f"#!/bin/sh\ncat {table}\n")
    program.chmod(0o755)
    words = command("--hosts-from", program, "--min-np", 1, "--max-np", 2)
    with hosts.start("node1", *words, folder / "out.npz", folder=folder) as job:
        job.wait_for_text("epoch 2 on node2")
        # The new one is before the old one: rank 0 and its folder move.
        table.write_text("node3\nnode2\n")
        job.wait_for_text("epoch 12 on node3")
        done = job.ended(LASTS_S)
    print(done.stderr)
    assert done.returncode == 0, done.stderr
    assert "the machines have changed; a snapshot was kept." in done.stderr
    assert "2 ranks go on from the newest snapshot on node3, node2." in done.stderr
    assert "the newest snapshot is on a disk of node2" in done.stderr
    assert "epoch 0 on node3" not in done.stdout
    assert_same(undisturbed, folder / "out.npz")
