"""``hfdt.run`` and ``nfdt.run``: functions as jobs, from programs and notebooks."""

from __future__ import annotations

import dataclasses
import inspect
import io
import math
import os
import signal
import stat
import sys
import threading
from pathlib import Path

import pytest

import hfdt
import nfdt
from fdtcore import function_calls, training_loops
from fdtcore.failures import Failure, RunError, read_record, write_record
from fdtcore.function_calls import PickledCalls, PlainCalls, Surroundings
from fdtcore.launcher import attached, function_job
from fdtcore.launcher.function_job import FunctionRequest
from fdtcore.launcher.hosts import Host
from tests import functions
from tests.processes import ROOT

PROGRAMS = {"hfdt": hfdt, "nfdt": nfdt}
OPTIONS = hfdt.Options()


def request(np=2, hosts=None, options=OPTIONS, **more):
    return FunctionRequest(options, np, hosts, None, False, **more)


# What is refused before anything starts.


REFUSED = {
    "no function": (
        TypeError,
        r"hfdt\.run takes a function\. Received: int\. Write hfdt\.run\(train, \(x",
        lambda: hfdt.run(3),
    ),
    "args that are one": (
        TypeError,
        r"args must be a tuple .* Received: int\. Write \(x,\)",
        lambda: hfdt.run(len, 3),
    ),
    "no ranks": (
        ValueError,
        r"np must be an integer >= 1\. Received: np=0\. Use np=1",
        lambda: hfdt.run(len, np=0),
    ),
    "a part of a rank": (
        ValueError,
        r"np must be an integer >= 1\. Received: np=1\.5",
        lambda: nfdt.run(len, np=1.5),
    ),
    "an unknown option": (
        TypeError,
        r"a keyword of nfdt\.run must be an option\. Received: algoritm\. Did you mean "
        r"algorithm\?",
        lambda: nfdt.run(len, algoritm="asgd"),
    ),
    "nothing like an option": (
        TypeError,
        r"Received: qqqq\. See help\(hfdt\.run\)\.",
        lambda: hfdt.run(len, qqqq=1),
    ),
    "a wrong value": (
        ValueError,
        r"batch must be one of .* Received: batch='local'",
        lambda: hfdt.run(len, batch="local"),
    ),
    "a value of Python's": (
        ValueError,
        r"process_sets must be a text or a number .* Received: process_sets=\[\[0\]\]"
        r"\. Give it to hfdt\.distribute, inside the function\.",
        lambda: hfdt.run(len, process_sets=[[0]]),
    ),
    "args that cannot be pickled": (
        ValueError,
        r"picklable\. Received: args\[1\], of type lock: cannot pickle .*lock.* "
        r"Make it inside the function\.",
        lambda: hfdt.run(max, (1, threading.Lock())),
    ),
    "a variable that cannot be pickled": (
        ValueError,
        r"picklable\. Received: lock in train, of type lock: cannot",
        lambda: hfdt.run(functions.with_a_lock()),
    ),
    "a function that cannot be pickled": (
        ValueError,
        r"picklable\. Received: Callable: not this one\. Make what it uses",
        lambda: hfdt.run(functions.Callable()),
    ),
    "hosts that are unknown": (
        ValueError,
        r"hosts must be known to the name service\. Received: node\.invalid",
        lambda: hfdt.run(len, hosts="node.invalid:2"),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_in_a_line(no_process, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kind, text, call = REFUSED[what]
    with pytest.raises(kind, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_rank_starts_no_job_of_its_own(no_process, monkeypatch):
    monkeypatch.setenv("PMIX_RANK", "0")
    with pytest.raises(ValueError, match="must be started once, not on each rank"):
        hfdt.run(len)


def test_without_cloudpickle_a_line_says_what_to_install(
    no_process, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ValueError, match=r"Try: pip install cloudpickle\."):
        hfdt.run(len)


FAR = "another:1,third:1"
ELSEWHERE = {
    "a lambda": (
        lambda: 1,
        (),
        r"importable there by its name; none is unpickled .* Received: <lambda> of "
        r"tests\.test_run_function\. Move it into a module, or write a script: "
        r"hfdt run -H another:1,third:1 train\.py\.",
    ),
    "a function in a function": (functions.with_a_lock(), (), "importable there"),
    "a function of the program": (functions.of_main, (), r"of_main of __main__\. Move"),
    "an object": (functions.Callable(), (), "importable there"),
    "an array": (
        functions.plain,
        (1, functions.Callable()),
        r"args for other machines must be plain data.* Received: args\[1\] is of type "
        r"Callable\.",
    ),
    "much data": (
        functions.plain,
        ("x" * 200_000,),
        r"args must be small .* Received: 200\d\d\d bytes as JSON",
    ),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_what_other_machines_cannot_be_given_is_refused(
    no_process, monkeypatch, what, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "fdtcore.launcher.hosts.unknown_hosts", lambda hosts: (), raising=True
    )
    function, args, text = ELSEWHERE[what]
    with pytest.raises(ValueError, match=text) as caught:
        hfdt.run(function, args, hosts=FAR)
    assert "\n" not in str(caught.value)


# Options, signatures.


@pytest.mark.parametrize("program", PROGRAMS)
def test_editors_see_all_options_as_keywords(program):
    package = PROGRAMS[program]
    shown = inspect.signature(package.run).parameters
    assert list(shown)[:3] == ["function", "args", "np"]
    assert shown["np"].default == 2 and shown["hosts"].default is None
    fields = {f.name: f.default for f in dataclasses.fields(package.Options)}
    assert {name: shown[name].default for name in fields} == fields
    assert "choices" not in shown
    assert "stall_timeout: " in package.run.__doc__


WRITTEN = [
    (hfdt.Options(batch="per_worker"), {"HFDT_BATCH": "per_worker"}),
    (hfdt.Options(stats=True), {"HFDT_STATS": "1"}),
    (hfdt.Options(lr_scale="linear"), {"HFDT_LR_SCALE": "linear"}),
    (hfdt.Options(lr_scale=1e-5), {"HFDT_LR_SCALE": "1e-05"}),
    (hfdt.Options(stall_timeout=math.inf), {"HFDT_STALL_TIMEOUT": "inf"}),
    (hfdt.Options(stall_timeout=2.5), {"HFDT_STALL_TIMEOUT": "2.5"}),
    (nfdt.Options(servers=2, algorithm="asgd"), None),
    (nfdt.Options(server_optimizer="sgd"), {"NFDT_SERVER_OPTIMIZER": "sgd"}),
    (nfdt.Options(trace="runs"), {"NFDT_TRACE": str(Path("runs").absolute())}),
    (nfdt.Options(), {}),
]


@pytest.mark.parametrize("options, variables", WRITTEN)
def test_options_travel_as_variables(options, variables):
    found = options.to_environ({})
    assert variables is None or found == variables
    read = type(options).from_environ(found)
    assert read == options or found.keys() == {"NFDT_TRACE"}


def test_what_is_given_wins_over_the_environment():
    environ = {"HFDT_BATCH": "per_worker"}
    assert hfdt.Options().to_environ(environ) == {"HFDT_BATCH": "global"}


def test_an_algorithm_of_python_is_for_distribute():
    options = nfdt.Options(algorithm=nfdt.ddc_asgd())
    with pytest.raises(ValueError, match=r"Give it to nfdt\.distribute, inside"):
        options.to_environ({})


# The files of a call.


def test_files_of_a_call_are_private(tmp_path):
    calls = PickledCalls(str(tmp_path))
    calls.write(max, [1, 2])
    function, args = calls.read()
    assert function(*args) == 2
    calls.keep(1, {"a": [1]})
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert modes == {"call.pickle": 0o600, "result-1.pickle": 0o600}
    assert calls.result(1) == {"a": [1]}
    with pytest.raises(FileNotFoundError):
        calls.result(1)


def test_a_half_written_result_is_none(tmp_path):
    calls = PickledCalls(str(tmp_path))
    with pytest.raises(TypeError, match="Received on rank 3: tuple: cannot pickle"):
        calls.keep(3, (b"x" * 100_000, threading.Lock()))
    with pytest.raises(FileNotFoundError):
        calls.result(3)


def test_the_source_of_a_cell_comes_along(monkeypatch):
    lines = ["for x in data:\n", "    tape = GradientTape()\n"]
    cell = "/nowhere/cell-1.py"
    here = Surroundings(("/some/folder",), {cell: lines})
    monkeypatch.setattr(sys, "path", list(sys.path))
    here.enter()
    assert sys.path[0] == "/some/folder"
    assert Surroundings.here().sources[cell] == lines
    assert training_loops.lines(cell) == {1}  # a loop that trains is found in it
    del function_calls.linecache.cache[cell]
    assert cell not in Surroundings.here().sources


def test_sources_of_files_do_not_travel():
    function_calls.linecache.getlines(__file__)
    assert __file__ not in Surroundings.here().sources


def test_a_plain_call_goes_by_name(tmp_path):
    calls = PlainCalls(tmp_path, PlainCalls.written("j", functions.plain, (1, "ü")))
    function, args = calls.read()
    assert (function, args) == (functions.plain, (1, "ü"))
    calls.keep(0, {"loss": (0.5, math.inf)})
    calls.keep(1, None)
    text = "".join(path.read_text() for path in tmp_path.glob("result-*.json"))
    text = f"Welcome to node1\n{text}"
    assert calls.results(text) == {0: {"loss": [0.5, math.inf]}, 1: None}
    assert PlainCalls(tmp_path, PlainCalls.written("k", len, ())).results(text) == {}
    for value in ({1: 2}, [functions.Callable()], b"x", {"a": {1}}):
        with pytest.raises(TypeError, match=r"must be plain data .* on rank 2: "):
            calls.keep(2, value)


# What a job's end means.


@pytest.fixture
def failed(tmp_path):
    def of(code, tail="", np=2, failure=None):
        if failure is not None:
            write_record(tmp_path, failure)
        with pytest.raises(RunError) as caught:
            function_job._fail(request(np), code, tail, tmp_path, tmp_path / "no")
        found = caught.value
        return str(found), found.rank, found.host, found.exit_code

    return of


def test_an_exception_is_raised_with_its_traceback(failed):
    failure = Failure(
        1, 2, "a", "ValueError", "bad", "t.py:3", "f()", "Traceback ...\n"
    )
    text = "rank 1/2 (a) failed: ValueError: bad (t.py:3: f()).\n\nTraceback ..."
    assert failed(1, "hfdt: x\n", failure=failure) == (text, 1, "a", 1)


def test_what_the_command_says_of_a_dead_rank_is_raised(failed):
    failure = Failure(1, 2, "a", "ProcessGone", "gone", kind="gone")
    said = "words\nhfdt: a\nhfdt: rank 1/2 (a) was killed.\n"
    found = failed(137, said, failure=failure)
    assert found == ("rank 1/2 (a) was killed.", 1, "a", 137)


def test_a_refusal_of_the_command_is_no_ranks(failed, tmp_path):
    assert failed(2, "hfdt: no.\n", np=1) == ("no.", None, "", 2)
    assert not tmp_path.exists()  # the job's folder was empty


def test_without_any_word_the_exit_code_is_told(failed):
    assert failed(7, np=1) == ("the job ended with exit code 7.", 0, "", 7)


def test_a_rank_that_kept_nothing_is_an_error_or_lost():
    with pytest.raises(RunError, match="rank 1/2 ended before the function returned"):
        function_job._in_order({0: "a"}, request())
    lost = request(may_lose=True)
    assert function_job._in_order({0: "a"}, lost) == ["a", None]
    with pytest.raises(RunError, match="rank 0/2"):
        function_job._in_order({}, lost)


def test_each_job_has_a_folder_and_one_process_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        function_job.output,
        "job_directory",
        lambda parent, now, pid: parent / "one",
    )
    assert function_job._directory(request(1)).name == "one"
    assert not list(tmp_path.iterdir())
    names = [function_job._directory(request(2)).name for _ in range(3)]
    assert names == ["one", "one.2", "one.3"]


def test_an_earlier_failure_of_a_folder_is_forgotten(tmp_path):
    write_record(tmp_path, Failure(0, 2, "a", "E", "old"))
    asked = request()._replace(output=tmp_path)
    assert function_job._directory(asked) == tmp_path
    assert read_record(tmp_path) is None


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("hfdt-logs").touch()
    with pytest.raises(ValueError, match=r"must be writable\. .*output=DIR"):
        function_job._directory(request(2))


def test_a_project_that_sys_path_alone_leads_to_is_found():
    added = function_job._with_project({"PYTHONPATH": "/a"})["PYTHONPATH"]
    assert added.split(":") == ["/a", str(ROOT)]
    assert function_job._with_project({"PYTHONPATH": str(ROOT)}) == {
        "PYTHONPATH": str(ROOT)
    }


def test_a_command_ends_where_its_parent_is_gone():
    with pytest.raises(SystemExit) as caught:
        attached.main([str(os.getpid()), "json"])  # our parent is another
    assert caught.value.code == 128 + signal.SIGTERM


def _held(text):
    """Returns a pipe that holds a text, and whose other end is closed."""
    reader, writer = os.pipe()
    os.write(writer, text)
    os.close(writer)
    return open(reader, "rb")


class Child:
    """A command that has said something, and ended.

    Args:
        said: What it has said on its standard error.
    """

    def __init__(self, said):
        self.stdout, self.stderr = _held(b""), _held(said)

    def poll(self):
        """As ``subprocess`` has it."""
        return 0

    def wait(self, timeout=None):
        """As ``subprocess`` has it."""
        return 0


def test_what_a_stream_has_no_letter_for_does_not_take_the_rest(monkeypatch):
    file = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stderr", file)
    shown = function_job._Shown(Child("bar \u2501 end\n".encode()))
    shown.follow()
    shown.close()
    assert file.buffer.getvalue() == b"bar ? end\n"
    assert shown.tail == "bar \u2501 end\n"


def test_results_are_fetched_from_a_machine_that_shares_no_disk(tmp_path):
    agent = tmp_path / "agent"
    agent.write_text('#!/bin/sh\necho "Welcome to $1"; shift; exec sh -c "$*"\n')
    agent.chmod(0o700)
    folder = tmp_path / "it's there"
    calls = PlainCalls(folder, PlainCalls.written("j", len, ()))
    calls.keep(1, ["a"])
    environ = {**os.environ, "PRTE_MCA_plm_ssh_agent": str(agent)}
    text = function_job._fetched(
        Host("node1", 1), f"{folder}/", "result-*.json", environ
    )
    assert text.startswith("Welcome to node1\n")
    assert calls.results(text) == {1: ["a"]}
    elsewhere = f"{tmp_path}/elsewhere/"
    text = function_job._fetched(Host("node1", 1), elsewhere, "*.json", environ)
    assert calls.results(text) == {}
