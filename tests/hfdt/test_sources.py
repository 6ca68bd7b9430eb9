"""The changes to Horovod's sources, on a tree that holds just the texts they change."""

import ast
import os
import sys
from pathlib import Path

import pytest

from hfdt.install import sources
from hfdt.install.gpu import Gpu
from hfdt.install.stack import InstallError, Stack
from tests.hfdt.stacks import CLUSTER, MPI, TENSORFLOW

CMAKE = "horovod/tensorflow/CMakeLists.txt"
MPI_RUN = "horovod/runner/mpi_run.py"
BUNDLED = Stack(TENSORFLOW, MPI, None)


@pytest.fixture
def tree(tmp_path) -> Path:
    """Makes Horovod's source tree, as far as it is changed."""
    texts = {MPI_RUN: "import os\nimport sys\n\n# MPI implementations\n"}
    texts[CMAKE] = 'set_target_properties(${TF_TARGET_LIB} PROPERTIES PREFIX "")\n'
    for edit in sources.EDITS:
        texts[edit.file] = texts.get(edit.file, "") + f"x = 1; {edit.old}\n"
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_edit_is_made(tree):
    sources.adapt(tree, BUNDLED)
    for edit in sources.EDITS:
        text = (tree / edit.file).read_text()
        assert edit.new in text
        assert edit.old not in text


@pytest.mark.parametrize("edit", sources.EDITS)
def test_a_text_that_is_not_there_is_an_error(tree, edit):
    (tree / edit.file).write_text("another release\n")
    with pytest.raises(InstallError, match=f"{edit.file} must contain"):
        sources.adapt(tree, BUNDLED)


def test_options_of_mpirun_have_two_dashes(tree):
    sources.adapt(tree, BUNDLED)
    text = (tree / MPI_RUN).read_text()
    assert "['--bind-to none', '--map-by slot']" in text
    assert "['--mca pml ob1', '--mca btl ^openib']" in text


@pytest.mark.parametrize(
    ("mpi", "first"),
    [(MPI, os.path.dirname(sys.executable)), (CLUSTER, "/opt/mpi/bin")],
)
def test_horovodrun_takes_the_mpi_it_was_built_with(tree, mpi, first, monkeypatch):
    sources.adapt(tree, Stack(TENSORFLOW, mpi, None))
    text = (tree / MPI_RUN).read_text().partition("# MPI implementations")[0]
    monkeypatch.setenv("PATH", "/somebody/elses")
    exec(compile(ast.parse(text), MPI_RUN, "exec"), {})
    assert os.environ["PATH"] == f"{first}:/somebody/elses"


def test_library_path_of_the_wheel_is_relative_to_any_environment(tree):
    sources.adapt(tree, BUNDLED)
    text = (tree / CMAKE).read_text()
    wanted = 'INSTALL_RPATH "$ORIGIN/../../../../../lib" BUILD_WITH_INSTALL_RPATH ON'
    assert wanted in text


def test_library_path_keeps_a_clusters_mpi(tree):
    gpu = Gpu("12.5", "/cuda", "/nccl")
    sources.adapt(tree, Stack(TENSORFLOW, CLUSTER, gpu))
    text = (tree / CMAKE).read_text()
    places = "$ORIGIN/../../nvidia/nccl/lib;/nccl/lib"
    assert f'BUILD_RPATH "{places}" BUILD_WITH_INSTALL_RPATH OFF' in text


def test_headers_that_moved_are_forwarded(tmp_path):
    include, own = tmp_path / "tf", tmp_path / "own"
    (include / "xla/hlo/builder").mkdir(parents=True)
    (include / "xla/hlo/builder/xla_builder.h").touch()
    folders = sources.include_folders(include, own)
    (name,) = sources.MOVED_HEADERS
    assert (own / name).read_text() == '#include "xla/hlo/builder/xla_builder.h"\n'
    assert own in folders
    assert include / "external/highwayhash" in folders
    assert include / "external/farmhash_archive/src" in folders


def test_headers_that_are_there_are_not_forwarded(tmp_path):
    (name,) = sources.MOVED_HEADERS
    (tmp_path / "tf" / name).parent.mkdir(parents=True)
    (tmp_path / "tf" / name).touch()
    sources.include_folders(tmp_path / "tf", tmp_path / "own")
    assert not (tmp_path / "own" / name).exists()


def test_headers_that_are_nowhere_are_an_error(tmp_path):
    with pytest.raises(InstallError, match=r"Install TensorFlow 2\.16 to 2\.21"):
        sources.include_folders(tmp_path / "tf", tmp_path / "own")


def test_what_pip_complains_of_is_passed_on(tmp_path):
    with pytest.raises(InstallError, match=r"pip install must succeed.*no-such-file"):
        sources.pip("install", "--no-index", str(tmp_path / "no-such-file.whl"))
