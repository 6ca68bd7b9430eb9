"""Lines out of pieces, and what a broken peer cannot do."""

import socket

import pytest

from fdtcore.control.channel import Channel, LineBuffer, encode


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
