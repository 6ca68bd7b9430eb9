"""A build command's log, progress, failure and interruption, with real processes."""

import io
import os
import signal
import sys
import textwrap

import pytest

from hfdt.install.compilation import Progress, last_errors, run_logged
from hfdt.install.stack import InstallError
from tests.processes import Process


def test_everything_goes_into_the_log(tmp_path):
    said: list[str] = []
    command = ["sh", "-c", "echo out; echo err >&2; echo $WHO; pwd"]
    env = {"PATH": os.environ["PATH"], "WHO": "me"}
    log = tmp_path / "log"
    run_logged(command, tmp_path, env, log=log, report=said.append)
    assert log.read_text().split() == ["out", "err", "me", str(tmp_path)]


def test_failure_shows_the_compilers_words_and_the_log(tmp_path):
    script = "echo 'a.cc:3: error: no such type'; echo 'make: leaving'; exit 7"
    log = tmp_path / "log"
    with pytest.raises(InstallError) as caught:
        run_logged(["sh", "-c", script], tmp_path, os.environ, log=log, report=print)
    text = str(caught.value)
    assert "exit code 7" in text
    assert "a.cc:3: error: no such type" in text
    assert "leaving" not in text
    assert str(log) in text


def test_failure_without_errors_shows_the_last_lines(tmp_path):
    (tmp_path / "log").write_text("\n".join(map(str, range(100))))
    assert last_errors(tmp_path / "log").split() == [str(n) for n in range(94, 100)]


def test_progress_is_one_line_on_a_terminal():
    terminal, said = io.StringIO(), []
    progress = Progress(said.append, terminal)
    progress.percent = 42
    progress.show(61.5)
    progress.show(62.5)
    progress.end()
    assert terminal.getvalue() == "\r  1:01   42 %\r  1:02   42 %\n"
    assert said == []


def test_progress_is_a_line_now_and_then_elsewhere():
    said: list[str] = []
    progress = Progress(said.append, None)
    for second in range(100):
        progress.show(float(second))
    assert said == ["  0:30    0 %", "  1:00    0 %", "  1:30    0 %"]


def test_percentage_is_read_from_the_build(tmp_path, monkeypatch):
    shown: list[int] = []
    monkeypatch.setattr(Progress, "show", lambda self, _: shown.append(self.percent))
    script = "echo '[  7%] Building'; echo '[ 42%] Linking'; sleep 1.2; echo end"
    log = tmp_path / "log"
    run_logged(["sh", "-c", script], tmp_path, os.environ, log=log, report=print)
    assert shown[-1] == 42


def test_interruption_ends_the_compilers_too(tmp_path):
    program = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from hfdt.install.compilation import run_logged
        folder = Path(sys.argv[1])
        command = ["sh", "-c", "sleep 60 & echo $! > child; wait"]
        run_logged(command, folder, os.environ, log=folder / "log", report=print)
    """)
    with Process(sys.executable, "-c", program, tmp_path) as job:
        job.wait_until(lambda: pid_in(tmp_path / "child"), "the compiler")
        job.send(signal.SIGINT)
        assert job.ended().returncode != 0
        assert job.left() == {}


def pid_in(path):
    return path.read_text() if path.exists() else ""
