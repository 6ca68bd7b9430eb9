"""Horovod's sources: fetched, checked, and adapted to today's TensorFlow and Open MPI.

The last Horovod release is older than the libraries it is built for. Each change is
one row of `EDITS`, with the reason; a row whose text is not found is an error, never
skipped.
"""

import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hfdt.install.stack import HOROVOD_VERSION, InstallError, Stack

SHA256 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
RECORD_NAME = "hfdt_build.json"
# setuptools 80 dropped what Horovod's setup.py relies on; CMake comes along only
# where the machine has none.
BUILD_TOOLS = ("setuptools==79.0.1", "wheel==0.48.0", "packaging==26.3")
CMAKE = "cmake==3.31.10"


class Edit(NamedTuple):
    """One textual change, to be found at least once."""

    file: str
    old: str
    new: str


_MPI_PATH = """
# Added by hfdt: the MPI that this Horovod was built with comes first.
os.environ['PATH'] = os.pathsep.join(
    [{folder}, os.environ.get('PATH', os.defpath)])

# MPI implementations
"""

EDITS = (
    # What setup.py would fetch while building is installed already, pinned.
    Edit(
        "setup.py",
        "setup_requires=require_list if is_build_action() else [],",
        f"package_data={{'horovod': ['{RECORD_NAME}']}},",
    ),
    # Python 3.12 has no distutils, and horovodrun imports this module.
    Edit(
        "horovod/runner/js_run.py",
        "from distutils.spawn import find_executable",
        "from shutil import which as find_executable",
    ),
    # Open MPI 5 takes long options with two dashes only; Open MPI 4 takes both.
    Edit(
        "horovod/runner/mpi_run.py",
        "['-mca pml ob1', '-mca btl ^openib']",
        "['--mca pml ob1', '--mca btl ^openib']",
    ),
    Edit(
        "horovod/runner/mpi_run.py",
        "['-bind-to none', '-map-by slot']",
        "['--bind-to none', '--map-by slot']",
    ),
)

# Headers that Horovod includes and TensorFlow has moved, with where they went.
MOVED_HEADERS = {
    "tensorflow/compiler/xla/client/xla_builder.h": (
        "xla/hlo/builder/xla_builder.h",  # TensorFlow 2.18 and newer
        "xla/client/xla_builder.h",
    ),
}


def fetch(folder: Path, env: Mapping[str, str]) -> Path:
    """Downloads and unpacks the source distribution, by pip and its settings.

    Args:
        folder: an empty folder to work in.
        env: environment of pip, with the build tools on its PYTHONPATH.

    Returns:
        The unpacked source tree.

    Raises:
        InstallError: The archive cannot be downloaded, or its hash is not the known
            one.
    """
    wanted = folder / "wanted.txt"
    wanted.write_text(f"horovod=={HOROVOD_VERSION} --hash=sha256:{SHA256}\n")
    pip(
        *("download", "--no-deps", "--no-binary=:all:", "--no-build-isolation"),
        *("--require-hashes", "-r", str(wanted), "-d", str(folder)),
        env=env,
    )
    archive = folder / f"horovod-{HOROVOD_VERSION}.tar.gz"
    with tarfile.open(archive) as tar:
        # Checked by its digest above; older Python 3.10 and 3.11 have no filter.
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:
            tar.extractall(folder)
    return folder / f"horovod-{HOROVOD_VERSION}"


def pip(*arguments: str, env: Mapping[str, str] | None = None) -> None:
    """Runs this Python's pip quietly.

    Raises:
        InstallError: The command failed; the message ends with pip's own last error.
    """
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise InstallError(
            f"pip {arguments[0]} must succeed. Received: {' '.join(errors)}. "
            "Check the network or pip's settings (pip config list), then try again."
        )


def adapt(source: Path, stack: Stack) -> None:
    """Changes the unpacked sources in place, and puts the build's record into them.

    Raises:
        InstallError: A file does not contain the text to be changed.
    """
    for edit in (*EDITS, _mpi_first(stack), _library_path(stack)):
        file = source / edit.file
        text = file.read_text()
        if edit.old not in text:
            raise InstallError(
                f"Horovod's {edit.file} must contain {edit.old!r}. Received: a file "
                f"without it. hfdt knows Horovod {HOROVOD_VERSION} only."
            )
        file.write_text(text.replace(edit.old, edit.new))
    record = json.dumps(stack.record(), indent=2)
    Path(source, "horovod", RECORD_NAME).write_text(record + "\n")


def include_folders(tensorflow_include: Path, folder: Path) -> list[Path]:
    """Makes the header folders the compiler needs beyond Horovod's own list.

    Args:
        tensorflow_include: Folder of the installed TensorFlow's headers.
        folder: where the forwarding headers are written.

    Returns:
        Two folders TensorFlow's headers include from, and that of the forwarders.

    Raises:
        InstallError: A header is at none of its known places.
    """
    for name, places in MOVED_HEADERS.items():
        if Path(tensorflow_include, name).is_file():
            continue
        found = [p for p in places if Path(tensorflow_include, p).is_file()]
        if not found:
            raise InstallError(
                f"TensorFlow must bring the header {places[0]}. Received: none in "
                f"{tensorflow_include}. Install TensorFlow 2.16 to 2.21."
            )
        Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, name).write_text(f'#include "{found[0]}"\n')
    external = tensorflow_include / "external"
    return [external / "highwayhash", external / "farmhash_archive" / "src", folder]


def _mpi_first(stack: Stack) -> Edit:
    # So that horovodrun starts ranks by the MPI that is inside the library, with
    # the environment not activated as well as next to a cluster's other MPIs.
    own = "os.path.dirname(sys.executable)"
    folder = own if stack.mpi.bundled else repr(str(stack.mpi.mpirun.parent))
    new = _MPI_PATH.format(folder=folder)
    return Edit("horovod/runner/mpi_run.py", "\n# MPI implementations\n", new)


def _library_path(stack: Stack) -> Edit:
    # Relative to horovod/tensorflow/ in site-packages: a cached wheel serves any
    # environment, and CMake's default would name the one it was built in.
    places = ["$ORIGIN/../../nvidia/nccl/lib"] if stack.gpu else []
    if stack.mpi.bundled:
        places.append("$ORIGIN/../../../../../lib")
    if stack.gpu:
        places.append(f"{stack.gpu.nccl_home}/lib")
    kind = "INSTALL_RPATH" if stack.mpi.bundled else "BUILD_RPATH"
    own = "ON" if stack.mpi.bundled else "OFF"
    old = 'set_target_properties(${TF_TARGET_LIB} PROPERTIES PREFIX "")\n'
    new = (
        f"{old}set_target_properties(${{TF_TARGET_LIB}} PROPERTIES "
        f'{kind} "{";".join(places)}" BUILD_WITH_INSTALL_RPATH {own})\n'
    )
    return Edit("horovod/tensorflow/CMakeLists.txt", old, new)
