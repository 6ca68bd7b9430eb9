"""Who gets in, and whom a bad or slow peer can harm. Real sockets, one process."""

import socket
import threading
import time

import pytest

from fdtcore.control import channel, sockets
from fdtcore.control.channel import Channel
from fdtcore.control.hub import Hub, status_message
from fdtcore.control.sockets import Switchboard
from fdtcore.control.stall import FINISHED, Patience, Status
from fdtcore.failures import Failure

TOKEN = "a" * 64
WAIT_S = 10.0


@pytest.fixture
def target():
    """A switchboard for two ranks that have not come yet."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # soon full
    address = listener.getsockname()
    hub = Hub(2, Patience(60.0), time.monotonic())
    serving = threading.Thread(target=Switchboard(hub, listener, TOKEN, 5.0).serve)
    serving.start()
    yield address
    hub.finished = True
    serving.join(WAIT_S)
    assert not serving.is_alive()


def connect(target, **changes):
    line = Channel(socket.create_connection(target, timeout=WAIT_S))
    hello = {"token": TOKEN, "rank": 1, "host": "h", "pid": 1, "started": 1}
    line.send({**hello, **changes})
    return line


def told(line):
    """Returns the next message that says more than that the hub is alive."""
    while True:
        for message in line.receive(WAIT_S):
            if message["type"] != "alive":
                return message


def is_admitted(line):
    """A rank that has joined is told of a failure; a stranger is cut off."""
    failure = Failure(0, 2, "h", "ValueError", "bad")
    line.send({"type": "failure", "failure": failure.to_json()})
    try:
        message = told(line)
    except ConnectionError:
        return False
    return message["type"] == "failure"


@pytest.mark.parametrize(
    "changes",
    [
        {"token": "b" * 64},
        {"token": ""},
        {"token": None},
        {"token": "\udcff"},
        {"rank": "1"},
        {"rank": 2},
        {"host": None},
        {"pid": "1"},
        {"host": "h" * 3000},
    ],
)
def test_only_a_proper_hello_with_the_token_is_admitted(target, changes):
    assert not is_admitted(connect(target, **changes))
    assert is_admitted(connect(target))


def test_rank_joins_once(target):
    first = connect(target)
    assert not is_admitted(connect(target))
    assert is_admitted(first)


def test_silent_stranger_is_dropped_in_the_end(target, monkeypatch):
    monkeypatch.setattr(sockets, "_HELLO_TIMEOUT_S", 0.1)
    with socket.create_connection(target, timeout=WAIT_S) as stranger:
        assert stranger.recv(1) == b""


def test_rank_that_talks_nonsense_counts_as_gone(target):
    zero, one = connect(target, rank=0), connect(target)
    one.send({"type": "nonsense"})
    message = told(zero)
    assert message["failure"]["kind"] == "gone"
    assert message["failure"]["rank"] == 1


def test_peer_that_reads_nothing_does_not_stop_the_others(target):
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(target)
    hello = {"token": TOKEN, "rank": 1, "host": "h", "pid": 1, "started": 1}
    raw.sendall(channel.encode(hello))
    zero = connect(target, rank=0)
    failure = Failure(0, 2, "h", "E", "bad", traceback="\N{SNOWMAN}" * 60_000)
    zero.send({"type": "failure", "failure": failure.to_json()})
    assert told(zero)["type"] == "failure"
    assert not is_admitted(connect(target, token=""))  # it still serves
    raw.close()
    zero.close()


def test_everybody_hears_of_the_end_before_it_closes(target):
    lines = [connect(target, rank=rank) for rank in range(2)]
    for line in lines:
        line.send(status_message(Status(1, "a", FINISHED), "goodbye"))
    for line in lines:
        assert told(line) == {"type": "finished"}
        with pytest.raises(ConnectionError):
            line.receive(WAIT_S)
