"""One process writes down what a job of several does: a trace, and a summary."""

from __future__ import annotations

import atexit
import sys

import pytest

from nfdt.cluster import in_process
from nfdt.options import Options
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.topology import Roles
from nfdt.telemetry import trace
from tests.nfdt.services import START, opening


@pytest.fixture
def ended(tmp_path, monkeypatch, capfd):
    """Trains for some steps in a process that may then end; returns what it says."""

    def end(is_over=True, **variables):
        at_exit = []
        monkeypatch.setattr(atexit, "register", lambda *call: at_exit.append(call))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        options = Options(algorithm="asgd", trace=str(tmp_path))
        way = in_process.transport(options, Roles(1, 1))
        way.call_all({0: opening(0)}, {})
        for _ in range(3):
            push = Message(Kind.PUSH, 0, payload=START.tobytes())
            way.call_all({0: push}, {})
        [(function, *arguments)] = at_exit
        if is_over:
            function(*arguments)
        return capfd.readouterr().err

    monkeypatch.delenv("NFDT_LAUNCHED", raising=False)
    return end


@pytest.mark.parametrize("is_over", [False, True])
def test_every_push_is_in_the_trace_at_once(ended, tmp_path, is_over):
    assert ended(is_over) == ""
    assert [event.version for event in trace.read(tmp_path).events] == [1, 2, 3]


def test_nfdt_run_ends_with_its_summary(ended):
    lines = ended(NFDT_LAUNCHED="1").splitlines()
    assert [line.split()[1] for line in lines] == ["updates", "staleness", "waiting"]
    assert "staleness  mean 0.0" in lines[1]


def test_a_script_that_has_failed_has_no_summary(ended, monkeypatch):
    monkeypatch.setattr(sys, "last_value", ValueError(), raising=False)
    assert ended(NFDT_LAUNCHED="1") == ""
