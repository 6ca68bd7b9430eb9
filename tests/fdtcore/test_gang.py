"""The gang of a job: real agents in slots of this machine, over real connections."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from fdtcore.launcher.banners import Ended
from fdtcore.launcher.descendants import descendants
from fdtcore.launcher.engines import choice, engine, gang_job
from fdtcore.launcher.engines.choice import Choice, GangLauncher
from fdtcore.launcher.engines.gang import Gang
from fdtcore.launcher.engines.gang_job import GangSpec
from fdtcore.launcher.launchers import Job
from tests.processes import is_running, wait_until

LIMIT_S = 30


def agents():
    """Returns the pids of the agents that this process has started."""
    words = {}
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):  # it has just ended
            words[pid] = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    start = f"{sys.executable}\0-\0".encode()
    return [pid for pid, said in words.items() if said.startswith(start)]


def start_agents(gang):
    """Plays an engine whose slots are threads of this process."""
    for number in range(gang.size):
        task = engine.task(gang.place(number))
        threading.Thread(target=task, daemon=True).start()


@pytest.fixture
def made():
    """Makes gangs with their agents, and closes them."""
    gangs = []

    def make(size=1, silence_s=10.0, starts=True):
        shown = []
        gang = Gang(
            "127.0.0.1", size, silence_s, lambda stream, piece: shown.append(piece)
        )
        gangs.append(gang)
        if starts:
            start_agents(gang)
            gang.gather(LIMIT_S, lambda: "")
        return gang, shown

    yield make
    for gang in gangs:
        gang.end()
        gang.close()
    wait_until(lambda: not agents(), "the end of all agents", LIMIT_S)


def python(code):
    return [sys.executable, "-c", code]


def ended(command):
    return wait_until(lambda: command.code is not None, "its end", LIMIT_S)


def test_slots_know_how_they_are_reached(made):
    gang, _ = made(2)
    slots = gang.gather(LIMIT_S, lambda: "")
    assert [slot.number for slot in slots] == [0, 1]
    assert {slot.host for slot in slots} == {socket.gethostname()}
    assert {(s.address, s.interface) for s in slots} == {("127.0.0.1", "lo")}


def test_a_command_gets_words_variables_folder_and_input(made, tmp_path):
    gang, shown = made()
    code = "import os, sys; print(sys.argv[1:], os.environ['A'], os.getcwd(), input())"
    words = [*python(code), "a b", "'"]
    command = gang.start(gang.slots[0], words, {"A": "1"}, str(tmp_path), None, "typed")
    assert ended(command)
    assert (command.code, b"".join(shown).decode()) == (
        0,
        f"['a b', \"'\"] 1 {tmp_path} typed\n",
    )


def test_each_byte_of_output_arrives(made):
    gang, shown = made()
    code = "import os; os.write(1, bytes(range(256)) * 2000)"
    assert ended(gang.start(gang.slots[0], python(code), {}, "/"))
    assert b"".join(shown) == bytes(range(256)) * 2000


def test_standard_error_is_told_from_standard_output(made):
    gang, _ = made()
    pieces = []
    code = "import os; os.write(2, b'wrong'); os.write(1, b'right')"
    command = gang.start(
        gang.slots[0], python(code), {}, "/", lambda *one: pieces.append(one)
    )
    assert ended(command)
    assert sorted(pieces) == [(1, b"right"), (2, b"wrong")]


def test_what_an_engine_sets_for_its_own_workers_is_dropped(made, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    gang, shown = made()
    code = "import os; print(*(k for k in os.environ if k[:4] in ('OMP_', 'CUDA')))"
    ended(gang.start(gang.slots[0], python(code), {}, "/"))
    ended(gang.start(gang.slots[0], python(code), {"OMP_NUM_THREADS": "3"}, "/"))
    assert b"".join(shown) == b"\nOMP_NUM_THREADS\n"


def test_a_program_that_is_not_there_is_named(made):
    gang, shown = made()
    command = gang.start(gang.slots[0], ["/no/such", "program"], {}, "/")
    ended(command)
    assert command.code == 127
    assert b"/no/such: No such file" in b"".join(shown)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        ("sys.exit(3)", Ended(1, "", 3, 0)),
        ("os.kill(os.getpid(), 9)", Ended(1, socket.gethostname(), 137, 9)),
    ],
)
def test_the_first_rank_that_fails_is_told(made, act, expected):
    gang, _ = made(2)
    codes = ["time.sleep(600)", act]
    commands = [
        gang.start(gang.slots[n], python(f"import os, sys, time; {code}"), {}, "/")
        for n, code in enumerate(codes)
    ]
    assert gang.first_failure(commands, lambda: "") == expected
    gang.end()
    assert commands[0].code == -signal.SIGTERM


def test_a_command_that_ignores_the_request_to_end_ends(made):
    gang, shown = made()
    code = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    )
    command = gang.start(gang.slots[0], python(f"{code}; time.sleep(600)"), {}, "/")
    wait_until(lambda: shown, "its first word", LIMIT_S)
    gang.end()
    assert command.code == -signal.SIGKILL


def test_a_signal_reaches_each_command(made):
    gang, shown = made()
    code = (
        "import signal, time; signal.signal(10, lambda *_: print('USR1', flush=True));"
        "print(1, flush=True); time.sleep(600)"
    )
    gang.start(gang.slots[0], python(code), {}, "/")
    wait_until(lambda: shown, "its first word", LIMIT_S)
    gang.signal(signal.SIGUSR1)
    wait_until(lambda: b"USR1" in b"".join(shown), "its second", LIMIT_S)


def test_a_lost_agent_loses_its_command(made):
    gang, _ = made()
    [agent] = agents()
    command = gang.start(gang.slots[0], python("import time; time.sleep(600)"), {}, "/")
    os.kill(agent, signal.SIGKILL)
    ended(command)
    assert gang.first_failure([command], lambda: "").code == 137
    # Nothing is waited for that is asked of it now.
    assert gang.start(command.slot, python(""), {}, "/").code == -signal.SIGKILL


def test_commands_end_with_the_gang(made):
    gang, shown = made()
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    gang.start(gang.slots[0], python(code), {}, "/")
    wait_until(lambda: shown, "its pid", LIMIT_S)
    gang.close()
    wait_until(lambda: not is_running(int(shown[0])), "its end", LIMIT_S)


def test_a_gang_that_is_silent_for_too_long_is_gone(made, monkeypatch):
    gang, shown = made(silence_s=3.0)
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    gang.start(gang.slots[0], python(code), {}, "/")
    wait_until(lambda: shown, "its pid", LIMIT_S)
    # Longer than it may be silent: both sides say that they are there.
    time.sleep(4.0)
    assert is_running(int(shown[0]))
    monkeypatch.setattr(Gang, "_send", lambda self, slot, message: None)
    wait_until(lambda: not is_running(int(shown[0])), "its end", LIMIT_S)


def test_the_token_is_no_word_of_any_process(made):
    gang, _ = made()
    [agent] = agents()
    ours = pathlib.Path(f"/proc/{agent}/cmdline").read_text()
    environ = pathlib.Path(f"/proc/{agent}/environ").read_text()
    assert gang.token not in ours + environ


HELLO = {"slot": 0, "host": "h", "address": "a", "interface": "i"}
STRANGERS = {
    "nothing": b"",
    "no line": b"\0" * 5000,
    "no token": json.dumps(HELLO).encode() + b"\n",
    "another token": json.dumps({**HELLO, "token": "x"}).encode() + b"\n",
    "a list": b"[1]\n",
}


@pytest.mark.parametrize("what", STRANGERS)
def test_strangers_get_no_slot(made, what):
    gang, _ = made(starts=False)
    with socket.create_connection((gang.address, gang.port)) as stranger:
        stranger.sendall(STRANGERS[what])
        if STRANGERS[what]:
            stranger.settimeout(LIMIT_S)
            assert stranger.recv(1) == b""
        assert not gang.slots
        start_agents(gang)  # the agent is served all the same
        assert gang.gather(LIMIT_S, lambda: "")


def test_an_agent_of_a_slot_that_is_taken_is_refused(made):
    gang, _ = made()
    with socket.create_connection((gang.address, gang.port)) as second:
        second.sendall(json.dumps({**HELLO, "token": gang.token}).encode() + b"\n")
        second.settimeout(LIMIT_S)
        assert second.recv(1) == b""
    assert gang.slots[0].host == socket.gethostname()


def test_it_listens_on_its_own_address_only(made):
    gang, _ = made(starts=False)
    rows = map(str.split, pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])
    [own] = [row[1] for row in rows if row[1].endswith(f":{gang.port:04X}")]
    assert own.startswith("0100007F:")  # 127.0.0.1


def test_slots_that_do_not_come_are_not_waited_for(made):
    gang, _ = made(2, starts=False)
    with pytest.raises(ValueError, match=r"Received: 0 within 0\.2 s"):
        gang.gather(0.2, lambda: "")
    with pytest.raises(ValueError, match="the cluster is gone"):
        gang.gather(LIMIT_S, lambda: "the cluster is gone")


def test_an_answer_of_each_machine(made):
    gang, _ = made(2)
    slots = [gang.slots[0], gang.slots[1]]
    assert gang.answers(slots, ["cat"], "/", LIMIT_S, "said") == [(0, b"said")] * 2
    assert gang.answers(slots[:1], ["sleep", "60"], "/", 0.2) == [(-9, b"")]


def test_a_remote_shell_is_served(made):
    gang, _ = made()

    def shell(host, words, sink):
        assert host == "node7"
        return gang.start(gang.slots[0], ["sh", "-c", words], {}, "/", sink)

    gang.remote_shell = shell
    environ = {
        "FDT_GANG_PLACE": f"{gang.address}:{gang.port}",
        "FDT_GANG_TOKEN": gang.token,
    }
    module = "fdtcore.launcher.engines.remote_shell"
    done = subprocess.run(
        [sys.executable, "-m", module, "node7", "echo 1; echo 2 >&2; exit 5"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "2\n", 5)


SPEC = GangSpec("dask", "", "hfdt", ("a",), 2, ("A",), "s", ("d",), ("f",), 1.0, 2.0)


def test_a_specification_is_the_same_behind_json():
    assert GangSpec.from_json(SPEC.to_json()) == SPEC


def test_engines_are_found_by_name():
    assert Choice.parse("dask") == Choice("dask")
    assert Choice.parse("spark=local[2]") == Choice("spark", "local[2]")
    assert Choice.parse("slurm=--nodes=2 --time=5").where == "--nodes=2 --time=5"
    with pytest.raises(ValueError, match="Did you mean dask"):
        Choice.parse("desk")
    with pytest.raises(ValueError, match=r"Received: yarn\. Write"):
        Choice.parse("yarn")


@pytest.mark.parametrize("name", gang_job.ENGINES)
def test_what_would_be_started_is_shown(name):
    launcher = GangLauncher(Choice(name, "there"), "m", "hfdt", (), (), 60.0, 15.0)
    text = choice.dry_run(launcher, Job(("python", "a b.py"), 3))
    assert f"{name}, there" in text
    assert "3, waited for 60 s" in text
    assert "python 'a b.py'" in text


@pytest.mark.parametrize("name", gang_job.ENGINES)
def test_an_engine_that_is_not_installed_is_named(name, monkeypatch):
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda module: None)
    with pytest.raises(ValueError, match=r"Received: no module .* pip install"):
        gang_job.ENGINES[name]("").connect()


def test_spark_without_java_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "require", lambda module: None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"needs Java 17.*Received: no java"):
        gang_job.ENGINES["spark"]("").connect()
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    with pytest.raises(ValueError, match=r'Received: openjdk version "11\.0\.2"'):
        gang_job.ENGINES["spark"]("").connect()


def test_dask_without_an_address_is_refused(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    with pytest.raises(ValueError, match="must be named"):
        gang_job.ENGINES["dask"]("").connect()
