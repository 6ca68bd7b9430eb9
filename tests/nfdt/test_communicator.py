"""Meetings as a worker sees them: who speaks, also when that one is lost."""

import threading
import time

from nfdt.glue.communicator import WorkerCommunicator
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.transport import LocalTransport
from tests.nfdt.services import service


class Waiting(LocalTransport):
    """Waits for what another worker's thread releases."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.waits = threading.Event()  # it has looked, and there was nothing

    def take(self, server, message, into=None):
        while (answer := self._found(server, message)) is None:
            self.waits.set()
            time.sleep(0.001)
        return answer


class Workers:
    """Workers on one server, each in a thread of its own."""

    def __init__(self, count):
        self.service, self.inbox, self.succeeded = service(count), [], []
        self.made = []  # workers, each time that one was to make what it says
        self.transports = [
            Waiting([self.service], time.perf_counter, self.inbox) for _ in range(count)
        ]
        self.all = [
            WorkerCommunicator(
                transport, worker, lambda: -1, lambda w=worker: self.succeeded.append(w)
            )
            for worker, transport in enumerate(self.transports)
        ]

    def lose(self, worker):
        self.transports[worker].post(0, Message(Kind.BYE, worker))

    def broadcast(self, *workers):
        """Returns what each worker gets when each offers its own name."""
        got = {}

        def make(worker):
            self.made.append(worker)
            return b"from %d" % worker

        def call(worker):
            got[worker] = self.all[worker].broadcast_made(lambda: make(worker), "x")

        threads = [threading.Thread(target=call, args=(w,)) for w in workers]
        for thread in threads:
            thread.start()
        return threads, got


def finished(threads, got):
    for thread in threads:
        thread.join(timeout=5)
    return got


def test_the_first_worker_speaks():
    workers = Workers(3)
    got = finished(*workers.broadcast(0, 1, 2))
    assert got == dict.fromkeys((0, 1, 2), b"from 0")
    assert workers.succeeded == [] and workers.made == [0]


def test_the_next_one_speaks_where_it_was_lost_before_it_came():
    workers = Workers(3)
    threads, got = workers.broadcast(1, 2)
    assert all(workers.transports[worker].waits.wait(5) for worker in (1, 2))
    assert got == {}  # worker 0 is awaited
    workers.lose(0)
    assert finished(threads, got) == dict.fromkeys((1, 2), b"from 1")
    assert workers.succeeded == workers.made == [1]


def test_where_two_are_lost_the_third_speaks_once():
    workers = Workers(3)
    workers.lose(0)
    workers.lose(1)
    for _ in range(2):
        assert finished(*workers.broadcast(2)) == {2: b"from 2"}
    assert workers.succeeded == [2]
