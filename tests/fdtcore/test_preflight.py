"""What machines answer before a job, and what follows; without any other machine."""

import json
import sys

import pytest

from fdtcore.launcher import preflight, probe
from fdtcore.launcher.hosts import Host
from fdtcore.launcher.preflight import Machine, Requirements, problems, unfit, warnings
from tests.processes import ROOT

HERE = Requirements("hfdt", ("numpy", "no-such-package"), str(ROOT), "setup.cfg")
ANSWER = probe.look(json.loads(HERE.text()))


def machine(name="node2", clock_s=0.0, **changes):
    return Machine(name, ANSWER | changes, clock_s=clock_s)


def test_a_machine_like_this_one_takes_part():
    assert problems([machine("node1"), machine()], HERE) == []
    assert warnings([machine()], HERE) == []
    assert ANSWER["places"]["hfdt"] == str(ROOT / "hfdt" / "__init__.py")
    assert ANSWER["versions"]["no-such-package"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"places": {"fdtcore": "x", "hfdt": None}}, "node2 has no hfdt in"),
        ({"has_folder": False}, f"node2 has no folder {ROOT}. Share it"),
        ({"has_script": False}, "node2 has no setup.cfg. Share its folder"),
        ({"wrong_logs": "No space left on device"}, "node2 cannot write to"),
        ({"python": "3.10.1"}, "node2 has Python 3.10.1, and node1 Python"),
        (
            {"versions": {"numpy": None, "no-such-package": None}},
            "node2 has numpy not at all, and node1 numpy ",
        ),
    ],
)
def test_a_machine_that_lacks_something_is_named(changes, said):
    [found] = problems([machine("node1"), machine(**changes)], HERE)
    assert found.startswith(said)


def test_a_machine_that_does_not_answer_is_no_measure_for_the_others():
    silent = Machine("node1", problem="node1 does not answer.")
    assert problems([silent, machine()], HERE) == ["node1 does not answer."]
    assert warnings([silent, machine()], HERE) == []


def test_each_machine_that_cannot_take_part_is_named_with_the_reason():
    silent = Machine("node1", problem="node1 does not answer.")
    wrong = machine("node3", has_script=False)
    found = unfit([silent, machine(), wrong], HERE)
    assert found.keys() == {"node1", "node3"}
    assert found["node3"].startswith("node3 has no setup.cfg")
    assert problems([wrong, silent, machine()], HERE) == [
        found["node1"],
        found["node3"],
    ]


def test_a_clock_and_a_disk_are_warned_of():
    late, full = warnings([machine(clock_s=-120.0), machine(free_bytes=5e6)], HERE)
    assert late.startswith("the clock of node2 is -120 s off")
    assert full == f"node2 has 5 MB left on {ROOT}."


def test_this_machine_is_asked_without_ssh():
    [found] = preflight.ask([Host("localhost", 1)], HERE, {"PYTHONPATH": str(ROOT)})
    assert found.problem == ""
    assert problems([found], HERE) == []


def test_a_folder_that_is_yet_to_be_made_is_looked_at_above(tmp_path):
    wanted = Requirements("hfdt", (), str(ROOT), "", str(tmp_path / "a" / "b"))
    answer = probe.look(json.loads(wanted.text()))
    assert answer["wrong_logs"] is None
    assert list(tmp_path.iterdir()) == []


def agent(tmp_path, code):
    """Returns an environment in which ssh is a program of the test's."""
    path = tmp_path / "agent.py"
    path.write_text(code)
    return {"PRTE_MCA_plm_ssh_agent": f"{sys.executable} {path}", "PATH": "/bin"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("Permission denied (publickey).", 255, "Log in without a password: ssh-copy"),
        ("ssh: connect to host a: No route to host", 255, "Is it up, and on this"),
        ("Connection timed out during banner exchange", 255, "Is it up, and does its"),
        ("env: '/x/python': No such file or directory", 127, "Install the same there."),
        (
            "env: '/x/python': Permission denied",
            126,
            "Let the user that ssh logs in as",
        ),
        ("something new", 3, "a: something new. Try: ssh a true."),
        ("", 3, "a: exit code 3. Try: ssh a true."),
    ],
)
def test_what_ssh_says_gets_a_way_out(tmp_path, words, code, said):
    environ = agent(
        tmp_path, f"import sys; print({words!r}, file=sys.stderr)\nsys.exit({code})"
    )
    [found] = preflight.ask([Host("a", 1)], HERE, environ)
    assert said in found.problem


def test_an_agent_that_is_silent_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "LIMIT_S", 0.5)
    [found] = preflight.ask(
        [Host("a", 1)], HERE, agent(tmp_path, "import time; time.sleep(99)")
    )
    assert found.problem.startswith("a takes connections and does not answer")
