"""The log of messages: its lines, and where they go."""

import doctest
import logging
import re

import pytest

from fdtcore import message_log
from fdtcore.message_log import MessageLog, wanted
from hfdt.options import Options


@pytest.fixture
def logger(request):
    """A logger of this test alone, by its program's name."""
    program = request.node.name
    yield program
    logging.getLogger(f"{program}.messages").handlers.clear()


def test_the_examples_of_its_documents_hold():
    found = doctest.testmod(message_log)
    assert found.attempted and not found.failed


def test_a_line_has_way_facts_size_and_time(logger, tmp_path):
    log = MessageLog(logger, tmp_path / "messages.log", now_s=lambda: 12.5)
    log.note("w3 -> s0", "push", "clock=41", "", "v=118", num_bytes=4_000_000)
    log.note("s0 -> w3", "params", took_s=0.0019)
    assert (tmp_path / "messages.log").read_text().splitlines() == [
        "12.500000 s  w3 -> s0  push  clock=41  v=118  4.0 MB",
        "12.500000 s  s0 -> w3  params  1.9 ms",
    ]


def test_a_line_begins_with_the_time_of_the_day(logger, capsys):
    MessageLog(logger).note("r1", "sum")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  r1  sum\n", capsys.readouterr().err)


def test_a_script_with_a_handler_of_its_own_gets_the_lines(logger, caplog, tmp_path):
    logging.getLogger(f"{logger}.messages").addHandler(logging.NullHandler())
    MessageLog(logger, tmp_path / "messages.log").note("r1", "sum")
    assert caplog.messages == ["r1  sum"]
    assert not (tmp_path / "messages.log").exists()


def test_there_is_none_where_nobody_wants_one(tmp_path):
    assert wanted(Options(), 1, str(tmp_path)) is None
    log = wanted(Options(log="messages"), 1, str(tmp_path))
    log.note("r1", "sum")
    assert "r1  sum" in (tmp_path / "messages-1.log").read_text()
    logging.getLogger("hfdt.messages").handlers.clear()
