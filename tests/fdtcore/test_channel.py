"""Lines out of pieces, and what a broken peer cannot do."""

import errno
import socket

import pytest

from fdtcore.control.channel import (
    Channel,
    LineBuffer,
    encode,
    is_unreachable,
    keep_alive,
)


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_lines_come_in_any_pieces(step):
    messages = [{"a": 1}, {"text": "zwölf\nlines \udcff"}, {}]
    data = b"".join(map(encode, messages))
    buffer = LineBuffer(100)
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    assert [m for piece in pieces for m in buffer.feed(piece)] == messages


@pytest.mark.parametrize(
    "data", [b"[1]\n", b"nonsense\n", b"\xff\n", b"[" * 99_999 + b"\n"]
)
def test_only_json_objects_are_messages(data):
    with pytest.raises(ValueError):
        list(LineBuffer(1 << 20).feed(data))


@pytest.mark.parametrize("data", [b"x" * 101, b'{"a": "' + b"x" * 100 + b'"}\n'])
def test_long_line_is_refused_finished_or_not(data):
    with pytest.raises(ValueError, match="at most 100 bytes"):
        list(LineBuffer(100).feed(data))


def test_limit_may_be_raised_after_the_first_message():
    buffer = LineBuffer(10)
    messages = buffer.feed(b'{"a": 1}\n{"b": "' + b"x" * 50)
    assert next(messages) == {"a": 1}
    buffer.limit_bytes = 100
    assert list(messages) == []
    assert list(buffer.feed(b'"}\n')) == [{"b": "x" * 50}]


def test_channel_carries_messages_and_reports_the_end():
    ours, theirs = map(Channel, socket.socketpair())
    assert theirs.receive(0.0) == []
    assert ours.send({"a": 1})
    assert theirs.receive(5.0) == [{"a": 1}]
    ours.close()
    with pytest.raises(ConnectionError):
        theirs.receive(5.0)
    theirs.send({})
    assert theirs.send({}) is False
    theirs.close()


class CutOff:
    """A socket that finds out while it sends that nobody is there; told once."""

    def __init__(self, inner):
        self._inner = inner

    def sendall(self, data):
        raise OSError(errno.ETIMEDOUT, "Connection timed out")

    def __getattr__(self, name):
        return getattr(self._inner, name)


def test_reading_reports_what_sending_has_found_out():
    ours, theirs = socket.socketpair()
    line = Channel(CutOff(ours))
    assert line.send({}) is False
    with pytest.raises(OSError) as caught:
        line.receive(5.0)
    assert is_unreachable(caught.value)
    theirs.close()


def test_an_end_is_not_a_machine_out_of_reach():
    assert not is_unreachable(ConnectionResetError(errno.ECONNRESET, "reset"))
    assert not is_unreachable(ConnectionError("closed"))
    assert not is_unreachable(None)


def test_the_kernel_is_told_how_long_a_machine_may_be_silent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as connection:
            keep_alive(connection, 6.0)
            wanted = {"TCP_USER_TIMEOUT": 6000, "TCP_KEEPIDLE": 1, "TCP_KEEPINTVL": 1}
            for name, value in wanted.items():
                option = getattr(socket, name)
                assert connection.getsockopt(socket.IPPROTO_TCP, option) == value
