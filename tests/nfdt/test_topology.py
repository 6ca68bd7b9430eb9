"""Who is what, how many there are, and which part of a vector is whose."""

import pytest

from nfdt.protocol.topology import Range, Roles, overlap, split


def test_workers_come_first():
    roles = Roles(size=5, num_servers=2)
    assert roles.num_workers == 3
    assert [roles.is_server(rank) for rank in range(5)] == [False] * 3 + [True] * 2
    assert [roles.server_rank(index) for index in range(2)] == [3, 4]
    assert [roles.name(rank) for rank in (0, 2, 3, 4)] == [
        "worker 0",
        "worker 2",
        "server 0",
        "server 1",
    ]
    assert not roles.is_alone


def test_one_process_is_a_worker():
    roles = Roles(size=1)
    assert roles.is_alone
    assert roles.num_workers == 1
    assert not roles.is_server(0)
    assert roles.name(0) == "worker 0"


@pytest.mark.parametrize("num_servers", [4, 5])
def test_too_many_servers_says_how_many_processes_to_start(num_servers):
    with pytest.raises(ValueError, match=rf"among 4 .* Start {num_servers + 1} proc"):
        Roles(size=4, num_servers=num_servers)


@pytest.mark.parametrize("num_servers", [0, -1])
def test_there_is_a_server(num_servers):
    with pytest.raises(ValueError, match=rf"Received: {num_servers}\. Use --servers 1"):
        Roles(size=4, num_servers=num_servers)


@pytest.mark.parametrize("size", [0, 1, 2, 7, 100, 101])
@pytest.mark.parametrize("num_servers", [1, 2, 3, 7])
def test_shards_cover_the_vector_evenly(size, num_servers):
    shards = split(size, num_servers)
    assert len(shards) == num_servers
    assert [n for shard in shards for n in range(*shard)] == list(range(size))
    sizes = [shard.size for shard in shards]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("start", "stop", "found"),
    [
        (0, 3, Range(5, 5)),
        (0, 7, Range(5, 7)),
        (6, 8, Range(6, 8)),
        (0, 99, Range(5, 10)),
        (8, 12, Range(8, 10)),
        (12, 15, Range(10, 10)),
        (7, 7, Range(7, 7)),
    ],
)
def test_what_a_range_has_in_common_with_a_shard(start, stop, found):
    assert overlap(Range(5, 10), start, stop) == found
