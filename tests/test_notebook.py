"""The notebook of the examples runs, and shows what was committed with it."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT, Process, run

NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
NAMES = ("nbclient", "nbformat", "ipykernel")
# Runs a cell; interrupts its kernel, as the button does, when it has said something.
INTERRUPT = """
import json, sys, jupyter_client.manager
manager, client = jupyter_client.manager.start_new_kernel()
try:
    request, said, error = client.execute(sys.argv[1]), "", None
    while True:
        message = client.get_iopub_msg(timeout=120)
        content, kind = message["content"], message["msg_type"]
        if message["parent_header"].get("msg_id") != request:
            continue
        if kind == "stream":
            is_new = "begun" not in said
            said += content["text"]
            if "begun" in said and is_new:
                manager.interrupt_kernel()
        elif kind == "error":
            error = content["ename"]
        elif content.get("execution_state") == "idle":
            break
    print(json.dumps([said, error]))
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""
CELL = """
import hfdt

def endless():
    import time
    print("begun", flush=True)
    while True:
        time.sleep(0.1)

hfdt.run(endless, np=2)
"""
FAILS = """
import hfdt

def train():
    if hfdt.rank() == 1:
        raise ValueError("in a cell")
    hfdt.barrier()

try:
    hfdt.run(train)
except hfdt.RunError as error:
    print(error)
"""


def outputs(path):
    """Returns the text of each stream of each cell of a notebook."""
    cells = json.loads(Path(path).read_text())["cells"]
    shown = [output for cell in cells for output in cell.get("outputs", [])]
    assert {output["output_type"] for output in shown} == {"stream"}
    return ["".join(output["text"]) for output in shown]


def lines(path):
    """Returns the lines that are shown, without what differs between two runs."""
    found = re.sub(r"\d+(-\d+)*", "#", "".join(outputs(path)))
    return {" ".join(line.replace("#ms", "#s").split()) for line in found.splitlines()}


@pytest.fixture
def kernels(tmp_path):
    """The environment of kernels; no test without what runs them."""
    for name in NAMES:
        pytest.importorskip(name, reason=f"{name} is not installed (extra: dev)")
    folders = {"IPYTHONDIR": "ipython", "JUPYTER_RUNTIME_DIR": "runtime"}
    return {name: str(tmp_path / folder) for name, folder in folders.items()}


@pytest.mark.mpi
@pytest.mark.horovod
@pytest.mark.slow
def test_the_notebook_shows_what_was_committed_with_it(tmp_path, kernels):
    shutil.copy(NOTEBOOK, tmp_path / "before.ipynb")
    names = ("before.ipynb", "after.ipynb")
    words = (sys.executable, ROOT / "scripts" / "notebook.py", *names)
    done = run(*words, folder=tmp_path, lean=False, **kernels)
    assert done.returncode == 0, done.stderr
    shown = lines(tmp_path / "after.ipynb")
    assert lines(NOTEBOOK) - shown == set()
    wanted = {
        "both ranks return the same: True",
        "losses are those of one process: True",
        "above #.#: True",
    }
    assert wanted <= shown


def test_what_is_committed_is_small_and_tells_of_no_machine():
    text = NOTEBOOK.read_text()
    assert len(text) < 20_000
    assert len(outputs(NOTEBOOK)) >= 6
    assert not re.search(r"/(home|root|tmp|usr|work)/|\(\w+, pid", text)
    assert '"execution": {' not in text


@pytest.mark.mpi
@pytest.mark.horovod
@pytest.mark.slow
def test_the_stop_button_ends_every_rank(tmp_path, kernels):
    words = (sys.executable, "-c", INTERRUPT, CELL)
    with Process(*words, folder=tmp_path, **kernels) as process:
        done = process.ended()
        assert done.returncode == 0, done.stderr
        assert process.left() == {}
    said, error = json.loads(done.stdout.splitlines()[-1])
    assert error == "KeyboardInterrupt"
    assert "hfdt: stopped by SIGINT; every rank has ended." in said


@pytest.mark.mpi
@pytest.mark.horovod
@pytest.mark.slow
def test_a_failure_shows_the_line_of_the_cell(tmp_path, kernels):
    words = (sys.executable, "-c", INTERRUPT, FAILS)
    done = run(*words, folder=tmp_path, **kernels)
    assert done.returncode == 0, done.stderr
    said, error = json.loads(done.stdout.splitlines()[-1])
    assert error is None
    assert "failed: ValueError: in a cell (" in said
    assert '    raise ValueError("in a cell")\nValueError: in a cell\n' in said
