"""The program that names machines: what it says, and what is said of it."""

import pytest

from fdtcore.launcher import discovery
from fdtcore.launcher.discovery import Discovery
from fdtcore.launcher.hosts import Host
from tests.processes import wait_until

RULE = "--hosts-from must be a program that prints lines like 'node1 slots=4'."


def program(folder, text, mode=0o755):
    path = folder / "machines.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path)


def test_lines_are_machines_and_their_slots(tmp_path):
    path = program(tmp_path, "echo node1 slots=4; echo node2:2")
    found = Discovery(path, print).ask()
    assert found == (Host("node1", 4), Host("node2", 2))
    assert Discovery(program(tmp_path, "true"), print).ask() == ()


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("exit 3", 0o755, "exit code 3. Run it by hand."),
        ("echo no cloud >&2; exit 1", 0o755, "exit code 1: no cloud. Run it by hand."),
        ("echo hello, world", 0o755, "'hello, world' in line 1. Run it by hand."),
        ("sleep 9", 0o755, "no end within 0.2 s. Make it faster."),
    ],
)
def test_another_answer_is_refused(tmp_path, monkeypatch, text, mode, said):
    monkeypatch.setattr(discovery, "LIMIT_S", 0.2 if "sleep" in text else 10)
    path = program(tmp_path, text, mode)
    with pytest.raises(ValueError) as error:
        Discovery(path, print).ask()
    assert str(error.value) == f"{RULE} Received: {path}: {said}"


def test_what_is_no_program_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"No such file or directory\. Name"):
        Discovery(str(tmp_path / "none"), print).ask()


def test_one_that_fails_later_is_said_once_and_the_last_answer_counts(tmp_path):
    said = []
    path = program(tmp_path, "echo node1 slots=4")
    found = Discovery(path, said.append, every_s=0.01)
    found.ask()
    found.watch()
    calls = tmp_path / "calls"
    program(tmp_path, f"echo >> {calls}; exit 3")
    wait_until(lambda: calls.exists() and calls.stat().st_size > 3, "some calls")
    found.close()
    assert found.hosts == (Host("node1", 4),)
    assert len(said) == 1 and said[0].endswith("The job goes on where it is.")
