"""The wait for hosts: each on a port of this machine that listens, or does not yet."""

from __future__ import annotations

import socket
import sys
import threading
import time

import pytest

from fdtcore.launcher.engines import host_wait
from tests.processes import run


@pytest.fixture
def port():
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def listening():
    """A port that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_hosts_that_listen_are_there_at_once(listening):
    host_wait.wait(["127.0.0.1", "localhost"], listening, limit_s=0)


@pytest.mark.parametrize("name", ["127.0.0.1", "no-such-host.invalid"])
def test_a_host_that_does_not_come_is_named(port, name):
    with pytest.raises(
        ValueError, match=rf"within 0 s\. Received: {name} port {port}: "
    ):
        host_wait.wait([name], port, limit_s=0)


def test_a_host_that_comes_late_is_waited_for(monkeypatch):
    monkeypatch.setattr(host_wait, "_LOOK_S", 0.01)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        waited = threading.Thread(target=host_wait.wait, args=(["127.0.0.1"], port))
        waited.start()
        time.sleep(0.1)
        assert waited.is_alive()
        server.listen()
        waited.join(timeout=60)
        assert not waited.is_alive()


def call(*words):
    return run(sys.executable, "-m", host_wait.__name__, *words)


def test_the_command_takes_the_place_of_the_wait(tmp_path, listening):
    (tmp_path / "hostfile").write_text("127.0.0.1 slots=2\nlocalhost slots=2\n")
    code = "import os, sys; print(sys.argv[1:], os.getppid()); sys.exit(7)"
    words = (sys.executable, "-c", code, "a b", "$c")
    done = call(tmp_path / "hostfile", listening, *words)
    assert done.returncode == 7
    assert done.stdout.startswith("['a b', '$c'] ")


@pytest.mark.parametrize(
    ("text", "command", "said"),
    [
        (None, "true", "hostfile: No such file or directory."),
        ("a b c", "true", "a host file must hold lines"),
        ("127.0.0.1", "no-such-command", "No such file or directory."),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, listening, text, command, said):
    if text is not None:
        (tmp_path / "hostfile").write_text(text)
    done = call(tmp_path / "hostfile", listening, command)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
