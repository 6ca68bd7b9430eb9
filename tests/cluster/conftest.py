"""Hosts that the tests of this folder share; each test finds them as they were made."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from tests.cluster.hosts import Hosts, missing
from tests.cluster.slurm import Slurm
from tests.cluster.slurm import missing as missing_slurm

# Every host sees it: only their /tmp are their own.
SHARED = pathlib.Path("/var/tmp/fdt-hosts")


@pytest.fixture(scope="session")
def made_hosts():
    """Three hosts, for all tests."""
    if lacking := missing():
        pytest.skip(lacking)
    with Hosts(3) as hosts:
        yield hosts


@pytest.fixture
def hosts(made_hosts):
    """Three hosts on which nothing runs, and a folder that all of them see."""
    yield made_hosts
    made_hosts.configure_ssh()
    for host in made_hosts.names:
        made_hosts.mend(host)
        made_hosts.name_hosts(host)
        made_hosts.start_again(host)


@pytest.fixture
def folder():
    """A folder on the disk that all hosts share."""
    shutil.rmtree(SHARED, ignore_errors=True)
    SHARED.mkdir(parents=True)
    yield SHARED
    shutil.rmtree(SHARED)


@pytest.fixture
def slurm(hosts):
    """Slurm on the three hosts; its programs are there alone."""
    if lacking := missing_slurm():
        pytest.skip(lacking)
    with Slurm(hosts) as up:
        yield up
