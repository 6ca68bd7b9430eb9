"""The log of messages: its lines, and where they go."""

import doctest
import logging
import logging.config
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


def test_a_handler_of_a_script_gets_the_lines_as_well(logger, caplog, tmp_path):
    log = MessageLog(logger, tmp_path / "messages.log", now_s=lambda: 1.0)
    logging.getLogger(f"{logger}.messages").addHandler(caplog.handler)
    log.note("r1", "sum")
    assert caplog.messages == ["1.000000 s  r1  sum"]
    assert (tmp_path / "messages.log").read_text() == "1.000000 s  r1  sum\n"


def test_what_a_script_does_to_logging_does_not_end_the_log(logger, tmp_path):
    log = MessageLog(logger, tmp_path / "messages.log")
    log.note("r1", "one")
    logging.config.dictConfig({"version": 1})  # disables loggers, closes handlers
    logging.disable(logging.CRITICAL)
    try:
        log.note("r1", "two")
    finally:
        logging.disable(logging.NOTSET)
    assert len((tmp_path / "messages.log").read_text().splitlines()) == 2


def test_each_log_has_its_own_file_which_begins_anew(logger, tmp_path):
    for text in ("one", "two"):
        first = MessageLog(logger, tmp_path / "first.log", now_s=lambda: 1.0)
        second = MessageLog(logger, tmp_path / "new" / "second.log")
        first.note("r1", text)
        second.note("r2", text)
    assert (tmp_path / "first.log").read_text() == "1.000000 s  r1  two\n"
    assert "r2  two" in (tmp_path / "new" / "second.log").read_text()


@pytest.mark.parametrize("place", ["/dev/full", "file/messages.log"])
def test_a_log_that_cannot_be_written_is_named_once_and_ends_nothing(
    logger, tmp_path, monkeypatch, place
):
    (tmp_path / "file").touch()
    said = []
    monkeypatch.setattr("fdtcore.output.shout", said.append)
    log = MessageLog(logger, tmp_path / place)
    log.note("r1", "one")
    log.note("r1", "two")
    (line,) = said
    assert re.match("the log of messages is cut off: (No space|File exists)", line)


def test_there_is_none_where_nobody_wants_one(tmp_path):
    assert wanted(Options(), 1, str(tmp_path)) is None
    log = wanted(Options(log="messages"), 1, str(tmp_path))
    log.note("r1", "sum")
    assert "r1  sum" in (tmp_path / "messages-1.log").read_text()
