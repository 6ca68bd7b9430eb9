"""How a process finds its place among others of its host."""

import pytest

from fdtcore.process import Process
from nfdt.__main__ import PROGRAM
from nfdt.cluster.runtime import server_threads, workers_on_host
from nfdt.protocol.topology import Roles


@pytest.mark.parametrize(
    ("size", "servers", "local_size", "cores", "threads"),
    [
        (3, 1, 3, 2, 1),  # all on one host: two workers keep both cores busy
        (15, 1, 15, 16, 3),
        (9, 1, 1, 16, 16),  # a host of its own
        (9, 1, 4, 16, 6),  # with three workers, of five cores each
        (10, 2, 4, 16, 4),  # with two workers and another server
    ],
)
def test_the_threads_of_a_server(size, servers, local_size, cores, threads):
    process = Process(size - 1, size, local_size - 1, local_size)
    assert server_threads(process, Roles(size, servers), cores) == threads


@pytest.mark.parametrize(
    ("rank", "local_rank", "local_size", "workers"),
    [
        (0, 0, 4, 3),  # all on one host, the server among them
        (0, 0, 2, 2),  # the server is on the other host, with worker 2
        (2, 0, 2, 1),
        (3, 0, 1, 1),  # the server, on a host without workers
    ],
)
def test_the_cores_of_a_host_are_its_workers(rank, local_rank, local_size, workers):
    process = Process(rank, 4, local_rank, local_size)
    assert workers_on_host(process, Roles(4, 1)) == workers


def test_a_process_gets_the_threads_of_a_worker_before_it_knows_the_others(monkeypatch):
    process = Process(0, 3, 0, 3)
    assert PROGRAM.sharing(process) == 2
    monkeypatch.setenv("NFDT_SERVERS", "2")
    assert PROGRAM.sharing(process) == 1
