"""How a process finds its place among others of its host."""

import pytest

from fdtcore.process import Process
from nfdt.cluster.runtime import server_threads
from nfdt.protocol.topology import Roles


@pytest.mark.parametrize(
    ("size", "servers", "local_size", "cores", "threads"),
    [
        (3, 1, 3, 2, 1),  # all on one host: two workers keep both cores busy
        (15, 1, 15, 16, 3),
        (9, 1, 1, 16, 16),  # a host of its own
        (9, 1, 4, 16, 4),  # with three others, whatever they are
    ],
)
def test_the_threads_of_a_server(size, servers, local_size, cores, threads):
    process = Process(rank=size - 1, size=size, local_size=local_size)
    assert server_threads(process, Roles(size, servers), cores) == threads
