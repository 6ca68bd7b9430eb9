import datetime
import sys
from pathlib import Path

import pytest

from fdtcore import output
from tests import processes

ROOT = Path(__file__).parents[2]
CHATTER = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795159420.843169    4858 port.cc:153] oneDNN custom operations are on.
W0000 00:00:1795159420.843169    4858 port.cc:153] something
2024-05-01 10:00:00.123456: I tensorflow/core/util/port.cc:113] oneDNN custom
2024-05-01 10:00:00.123456: W tensorflow/compiler/tf2tensorrt/x.cc:38] TF-TRT
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow
E0000 00:00:1795159422.696579    4858 cuda.cc:52] failed call to cuInit: INTERNAL
2024-05-01 10:00:00.1: E external/x.cc:9] Unable to register cuDNN factory: Attempting
"""
KEPT = """\
E0000 00:00:1795159422.696579    4858 x.cc:52] a real error
F0000 00:00:1795159422.696579    4858 x.cc:52] a fatal error
2024-05-01 10:00:00.1: F tensorflow/core/platform/cpu_feature_guard.cc:9] no AVX
UserWarning: mine
"""


def run(code, **environ):
    """Runs ``code`` in a process of its own and returns what it wrote."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": None}
    return processes.run(sys.executable, "-c", code, **(quiet | environ))


REDIRECT = """
import os, subprocess, sys
from pathlib import Path
from fdtcore import output
from fdtcore.process import Process
output.redirect(Process(rank={rank}, size=2), Path({logs!r}))
print("python"); print("error", file=sys.stderr); sys.stdout.flush()
os.write(1, b"library\\n")
subprocess.run(["echo", "child"])
print("to the user", file=output.terminal())
print("end")
os._exit(0)  # as a rank that is killed: nothing is flushed
"""


def test_another_rank_writes_to_its_file(tmp_path):
    done = run(REDIRECT.format(rank=1, logs=str(tmp_path / "new")))
    assert (done.stdout, done.stderr) == ("", "to the user\n")
    text = (tmp_path / "new" / "rank-1.log").read_text()
    assert text == "python\nerror\nlibrary\nchild\nend\n"


def test_rank_0_keeps_the_terminal(tmp_path):
    done = run(REDIRECT.format(rank=0, logs=str(tmp_path)))
    assert done.stdout == "python\nlibrary\nchild\nend\n"
    assert done.stderr == "error\nto the user\n"
    assert not list(tmp_path.iterdir())


def test_a_log_on_a_full_disk_is_cut_and_named_at_the_end(tmp_path):
    (tmp_path / "rank-1.log").symlink_to("/dev/full")
    code = """
import os, sys
from pathlib import Path
from fdtcore import output
from fdtcore.process import Process
output.redirect(Process(rank=1, size=2), Path("."), program="nfdt")
for _ in range(1000): print("python"); print("error", file=sys.stderr)
print("goes on", file=output.terminal())
"""
    done = run(f"import os; os.chdir({str(tmp_path)!r})\n{code}")
    assert done.returncode == 0
    line = "nfdt: rank-1.log is cut off: No space left on device."
    assert done.stderr.splitlines() == ["goes on", line]


def test_a_closed_standard_output_is_nothing_and_no_other_file(tmp_path):
    code = (
        "import os, sys; os.close(1); sys.stdout = sys.__stdout__ = None\n"
        "from fdtcore import output; output.open_standard()\n"
        f"file = os.open({str(tmp_path / 'mine')!r}, os.O_WRONLY | os.O_CREAT)\n"
        "print('here'); os.write(file, b'mine'); assert file > 2"
    )
    done = run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "mine").read_text() == "mine"


def test_without_a_folder_every_rank_keeps_the_terminal():
    code = (
        "from fdtcore import output; from fdtcore.process import Process\n"
        "output.redirect(Process(rank=1, size=2), None); print('here')"
    )
    assert run(code).stdout == "here\n"


@pytest.mark.parametrize("plain", [True, False])
def test_plain_output_owns_to_being_no_terminal(plain):
    code = f"""
import os, pty, sys
master, slave = pty.openpty()
os.dup2(slave, 1)
from fdtcore import output
from fdtcore.process import Process
sys.stdout = sys.__stdout__ = open(1, "w")
output.redirect(Process(), None, plain={plain})
print(sys.stdout.isatty(), file=sys.stderr)
print("text")
sys.stdout.flush()
print(os.read(master, 100), file=sys.stderr)
"""
    assert run(code).stderr == f"{not plain}\nb'text\\r\\n'\n"


def quietly(text, verbose=False):
    code = (
        "import os, sys; from fdtcore import output\n"
        f"with output.quiet(verbose={verbose}): os.write(2, {text.encode()!r})\n"
        "os.write(2, b'after')"
    )
    return run(code).stderr


def test_start_up_chatter_is_dropped():
    assert quietly(CHATTER) == "after"


def test_what_is_no_chatter_is_kept():
    assert quietly(CHATTER + KEPT) == KEPT + "after"


def test_verbose_drops_nothing():
    assert quietly(CHATTER, verbose=True) == CHATTER + "after"


def test_an_error_while_quiet_is_shown():
    done = run("from fdtcore import output\nwith output.quiet(): import no_such_module")
    assert "No module named 'no_such_module'" in done.stderr


def test_the_folder_of_a_job_has_its_date_and_process():
    now = datetime.datetime(2026, 11, 20, 7, 5, 9)
    folder = output.job_directory(Path("hfdt-logs"), now, 42)
    assert folder == Path("hfdt-logs/20261120-070509-42")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, None),
        ({"PMIX_NAMESPACE": "prterun-vm-4845@1"}, "prterun-vm-4845-1"),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}, "slurm-7.0"),
        ({"SLURM_JOB_ID": "7"}, None),
        (
            {
                "HOROVOD_GLOO_RENDEZVOUS_ADDR": "10.0.0.1",
                "HOROVOD_GLOO_RENDEZVOUS_PORT": "99",
            },
            "gloo-10.0.0.1-99",
        ),
        ({"PMIX_NAMESPACE": "../../x"}, "..-..-x"),
    ],
)
def test_ranks_agree_on_a_name_without_talking(environ, name):
    assert output.job_name(environ) == name


def test_ranks_of_mpich_have_in_common_where_their_launcher_listens():
    own = "from fdtcore import output; print(output.job_name({'PMI_HOSTNAME': 'a'}))"
    daemon = ("sh", "-c", '"$0" -c "$1"; true', sys.executable, own)
    assert processes.run(*daemon).stdout == "None\n"
    words = ("--control-port", "node1:36459", "--rmk", "user")
    assert processes.run(*daemon, *words).stdout == "mpich-node1-36459\n"


def test_the_announcement_names_the_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = output.announce(2, tmp_path / "logs")
    assert text == "output of rank 1 goes to logs/rank-1.log"
    text = output.announce(4, Path("/logs"))
    assert text == "output of ranks 1-3 goes to /logs/rank-N.log"
    text = output.announce(3, Path("/logs"), "worker 1 and server 0")
    assert text == "output of worker 1 and server 0 goes to /logs/rank-N.log"


def test_a_rank_that_takes_the_place_of_rank_0_gets_the_terminal(tmp_path):
    program = (
        "import os, pathlib\n"
        "from fdtcore import output, process\n"
        f"output.redirect(process.Process(1, 2), pathlib.Path({str(tmp_path)!r}))\n"
        "print('to the file'); os.system('echo and this')\n"
        "output.restore()\n"
        "print('to the terminal'); os.system('echo and this, too')\n"
    )
    done = run(program)
    assert done.stdout == "to the terminal\nand this, too\n", done.stderr
    assert (tmp_path / "rank-1.log").read_text() == "to the file\nand this\n"
