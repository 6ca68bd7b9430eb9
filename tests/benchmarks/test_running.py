"""Speeds read from output, and contenders that fail; nothing is timed."""

import json
import sys

import pytest

from benchmarks.launches import Contender, Launch
from benchmarks.running import ContenderError, read_speed, run
from benchmarks.work import Work

WORK = Work("cnn", "a title", 128, steps=10, epochs=2, contenders=(), model="cnn")


def test_speed_is_found_behind_a_launchers_prefix():
    output = (
        '[0]<stdout>:{"images": 300, "seconds": 2.0, "data": "random"}\n'
        "[1]<stderr>: chatter {}\n"
    )
    assert read_speed(output, ranks=2) == (75.0, "random")


def test_copies_are_averaged_over_their_lines():
    lines = [json.dumps({"images": n, "seconds": 2, "data": "d"}) for n in (100, 300)]
    assert read_speed("\n".join(lines), ranks=2).images_per_s == 100.0


def test_no_line_is_an_error():
    with pytest.raises(ContenderError, match="no speed was printed"):
        read_speed("Traceback\n", ranks=1)


def contender(*argv: str) -> Contender:
    """Return a contender of two processes, the second of which sleeps."""
    sleeper = (sys.executable, "-c", "import time; time.sleep(60)")
    return Contender(
        "name", "title", 2, lambda work, machine: (Launch(argv), Launch(sleeper))
    )


def test_one_failed_process_ends_the_others_and_is_quoted():
    failing = (sys.executable, "-c", "import sys; sys.exit('the reason')")
    with pytest.raises(ContenderError, match="exit code 1: the reason"):
        run(contender(*failing), WORK, timeout_s=30)


def test_a_program_that_is_missing_is_named():
    with pytest.raises(ContenderError, match="cannot start no-such-program"):
        run(contender("no-such-program"), WORK, timeout_s=30)


def test_a_contender_that_takes_too_long_is_stopped():
    slow = (sys.executable, "-c", "import time; time.sleep(60)")
    with pytest.raises(ContenderError, match="not finished after 1 s"):
        run(contender(*slow), WORK, timeout_s=1)
