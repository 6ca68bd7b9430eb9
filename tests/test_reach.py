"""Quick tests are those that reach neither another process nor TensorFlow."""

import os
import subprocess
import sys

import pytest

from tests import reach

HERE = "tests.test_reach"


def starts():
    return subprocess.run([sys.executable, "-c", ""], check=True)


def by_another():
    return starts()


def imports_within():
    import keras

    return keras


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (f"{HERE}.starts", {"process"}),
        (f"{HERE}.by_another", {"process"}),
        (f"{HERE}.imports_within", {"tensorflow"}),
        (f"{HERE}.HERE", set()),
        ("tests.tables.Rows", {"process"}),
        # Of a module that starts processes, what starts none.
        ("tests.processes.ROOT", set()),
        # The code under test: by what it uses, and by what importing it imports.
        ("fdtcore.launcher.supervisor.supervise", {"process"}),
        ("fdtcore.glue.data.rows", {"tensorflow"}),
        ("tests.matrix.jobs.plain", {"process"}),
        ("tests.nfdt.test_callbacks.keras", {"tensorflow"}),
    ],
)
def test_what_a_name_leads_to(name, found):
    assert reach.reached(name) == found


@pytest.mark.parametrize(
    ("module", "is_heavy"),
    [
        ("fdtcore.glue.binding", True),
        ("hfdt", False),  # its names import what they need, when they are asked for
        ("tests.nfdt.test_keras_sgd", True),  # by importorskip
        ("tests.hfdt.horovod_reference", False),  # within a function
        (HERE, False),
    ],
)
def test_what_importing_a_module_imports(module, is_heavy):
    assert reach.loads_tensorflow(module) is is_heavy


def test_this_test_is_quick(request):
    assert request.node.get_closest_marker("quick")


def test_this_test_is_not(request):
    starts()
    assert request.node.get_closest_marker("process")


@pytest.fixture
def project(tmp_path):
    (tmp_path / "setup.cfg").write_text("[tool:pytest]\n")
    return tmp_path


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("__import__('sub' + 'process').run(['true'])", "subprocess.Popen true"),
        ("__import__('os').posix_spawn('/bin/true', ['true'], {})", "os.posix_spawn"),
        ("__import__('tensor' + 'flow')", "import tensorflow"),
        ("pass", None),
    ],
)
def test_a_quick_test_that_is_not_quick_fails(project, act, said):
    (project / "test_hidden.py").write_text(f"def test():\n    {act}\n")
    (project / "tensorflow.py").write_text("")
    words = ("-p", "tests.conftest", "-p", "no:cacheprovider", "-o", "addopts=")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "-q", "test_hidden.py"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": f"{project}:{reach.ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (0 if said is None else 1), done.stdout
    if said is not None:
        assert f"Received: {said}" in done.stdout
