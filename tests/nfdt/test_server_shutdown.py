"""How the servers of a job end together."""

import collections
import concurrent.futures
import dataclasses

import pytest

from nfdt.cluster import server_shutdown
from nfdt.cluster.server_shutdown import ServerBarrier
from nfdt.protocol.topology import Roles
from tests.processes import wait_until

# Less than what is waited for in vain.
LIMIT_S = 20


@dataclasses.dataclass
class Post:
    """What servers have sent to each other."""

    letters: collections.defaultdict


@dataclasses.dataclass
class Peer:
    """A server that is in the same process as the others."""

    rank: int
    post: Post
    roles: Roles = dataclasses.field(default_factory=lambda: Roles(4, 2))
    lost: set = dataclasses.field(default_factory=set)
    looks: int = 0  # for letters

    def send(self, rank, message, tag, payload_tag):
        del tag, payload_tag
        self.post.letters[rank].append((self.rank, message.header()))

    def next_header(self, tag):
        del tag
        self.looks += 1
        letters = self.post.letters[self.rank]
        return letters.popleft() if letters else None

    def newly_lost(self):
        return []


@pytest.fixture
def servers():
    """Both servers of a job with two workers."""
    post = Post(collections.defaultdict(collections.deque))
    return [Peer(rank, post) for rank in (2, 3)]


@pytest.fixture
def threads():
    with concurrent.futures.ThreadPoolExecutor(2) as made:
        yield made


def test_servers_agree_on_the_greater_number_and_leave_together(servers, threads):
    one, other = map(ServerBarrier, servers)
    agreed = [threads.submit(one.agree, 4), threads.submit(other.agree, 5)]
    assert [found.result(20) for found in agreed] == [5, 5]
    looks = servers[0].looks
    leaves = threads.submit(one.leave_together)
    wait_until(lambda: servers[0].looks > looks + 3, "it to look for the other")
    assert not leaves.done()  # the other one still writes
    other.leave_together()
    leaves.result(20)


def test_who_does_not_come_is_awaited_once(servers, threads, monkeypatch):
    monkeypatch.setattr(server_shutdown, "_COME_S", 0.1)
    monkeypatch.setattr(server_shutdown, "_WRITE_S", 60.0)
    early = ServerBarrier(servers[0])
    assert early.agree(4) == 4
    threads.submit(early.leave_together).result(LIMIT_S)
    late = ServerBarrier(servers[1])
    assert late.agree(3) == 4
    late.leave_together()


def test_nobody_waits_for_the_lost(servers, threads, monkeypatch):
    monkeypatch.setattr(server_shutdown, "_COME_S", 60.0)
    servers[0].lost.add(3)
    assert threads.submit(ServerBarrier(servers[0]).agree, 2).result(LIMIT_S) == 2
