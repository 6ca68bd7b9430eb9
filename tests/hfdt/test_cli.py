import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import hfdt
from fdtcore.launcher.foreground import Foreground
from fdtcore.launcher.hosts import Host
from fdtcore.launcher.launchers import Direct, OpenMpi
from hfdt import cli
from hfdt.gloo import Gloo
from hfdt.install import install
from hfdt.options import Options
from tests.processes import ROOT, Process, run


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("pass\n")
    return "train.py"


@pytest.fixture
def jobs_run(monkeypatch, no_process):
    """What the command would run, instead of running it."""
    made = []

    def run(self, job, launcher, environ, directory):
        made.append((self, job, launcher, environ, directory))
        return 5

    monkeypatch.setattr(Foreground, "run", run)
    monkeypatch.setattr("fdtcore.launcher.jobs.identify", OpenMpi)
    monkeypatch.setattr(install, "check_installed", lambda: None)
    for name in list(os.environ):
        if name.startswith(("HFDT_", "SLURM_", "OMPI_COMM", "PMIX_RANK", "HOROVOD_")):
            monkeypatch.delenv(name)
    return made


def call(*words):
    return CliRunner().invoke(cli.main, list(words))


@pytest.mark.parametrize(
    ("words", "stops_itself", "folder"),
    [
        ((), False, None),
        (("--snapshot", "s", "--resume", "auto"), True, "s"),
        (("--resume", "r"), True, None),
    ],
)
def test_a_job_with_snapshots_ends_by_itself(
    script, jobs_run, words, stops_itself, folder
):
    Path("r").mkdir()
    assert call("run", "-np", "2", *words, script).exit_code == 5
    [(foreground, _, _, environ, _)] = jobs_run
    assert foreground.stops_itself == stops_itself
    expected = None if folder is None else str(Path.cwd() / folder)
    assert environ.get("HFDT_SNAPSHOT") == expected
    assert environ.get("HFDT_RESUME") in (None, "auto", str(Path.cwd() / "r"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--snapshot", "s"), "must be empty when a job begins. Received: "),
        (("--resume", "r"), "which is not there. Write some with --snapshot DIR."),
        (("--snapshot", "train.py"), "must be writable. Received: "),
        (("--resume", "auto"), "Name it as well: --snapshot DIR."),
        (("--snapshot", "s", "--resume", "r"), "has one folder of snapshots"),
        (("--snapshot", "s", "--snapshot-every", "0s"), "write for example 30s"),
    ],
)
def test_a_folder_that_cannot_be_used_is_said_before_a_job_starts(
    script, jobs_run, words, text
):
    Path("s").mkdir()
    Path("s/fit-0001.safetensors").touch()
    result = call("run", "-np", "2", *words, script)
    assert (result.exit_code, jobs_run) == (2, [])
    assert text.lower() in result.output.lower()
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("spelling", ["-np", "--np", "-n"])
def test_everything_behind_the_script_is_the_scripts(script, jobs_run, spelling):
    result = call("run", spelling, "3", script, "-np", "7", "--help", "--", "-m", "x")
    assert result.exit_code == 5  # the job's own
    [(_, job, launcher, _, directory)] = jobs_run
    command = ("-m", "hfdt", script, "-np", "7", "--help", "--", "-m", "x")
    assert job.command == (sys.executable, *command)
    assert job.size == 3
    assert not isinstance(launcher, Direct)
    assert directory is None


def test_a_module_with_its_own_options(jobs_run):
    call("run", "-np", "2", "-m", "pytest", "-q", "-m", "slow")
    assert jobs_run[0][1].command[1:] == (
        "-m",
        "hfdt",
        "-m",
        "pytest",
        "-q",
        "-m",
        "slow",
    )


def test_one_process_needs_no_launcher(script, jobs_run):
    call("run", "-np", "1", script)
    assert isinstance(jobs_run[0][2], Direct)


# Every choice: what is written, the variable it becomes, the option that is read.
CHOICES = [
    ("--batch", "per-worker", "HFDT_BATCH", {"batch": "per_worker"}),
    ("--lr-scale", "linear", "HFDT_LR_SCALE", {"lr_scale": "linear"}),
    ("--lr-scale", "0.5", "HFDT_LR_SCALE", {"lr_scale": 0.5}),
    ("--warmup-epochs", "2.5", "HFDT_WARMUP_EPOCHS", {"warmup_epochs": 2.5}),
    ("--compression", "bf16", "HFDT_COMPRESSION", {"compression": "bf16"}),
    ("--accumulate", "4", "HFDT_ACCUMULATE", {"accumulate": 4}),
    ("--op", "adasum", "HFDT_OP", {"op": "adasum"}),
    ("--nonfinite", "skip", "HFDT_NONFINITE", {"nonfinite": "skip"}),
    ("--stall-timeout", "9", "HFDT_STALL_TIMEOUT", {"stall_timeout": 9.0}),
]


@pytest.mark.parametrize(("option", "value", "variable", "read"), CHOICES)
def test_a_choice_reaches_the_ranks(script, jobs_run, option, value, variable, read):
    call("run", "-np", "2", option, value, script)
    environ = jobs_run[0][3]
    assert environ[variable] == value
    assert Options.from_environ(environ) == Options(**read)


def test_an_option_that_is_not_given_sets_nothing(script, jobs_run):
    call("run", "-np", "2", script)
    assert not [name for name in jobs_run[0][3] if name.startswith("HFDT_")]


@pytest.mark.parametrize("option", sorted({choice[0] for choice in CHOICES}))
def test_a_wrong_choice_is_refused_before_anything_starts(script, jobs_run, option):
    result = call("run", "-np", "2", option, "nonsense", script)
    assert result.exit_code == 2
    assert "Received: " in result.output
    assert "nonsense" in result.output
    assert "HFDT_STALL" not in result.output
    assert not jobs_run


def test_switches(script, jobs_run):
    call("run", "-np", "2", "--verbose", "--debug", script)
    foreground, _, _, environ, _ = jobs_run[0]
    assert foreground.verbose
    assert (environ["HFDT_VERBOSE"], environ["HFDT_DEBUG"]) == ("1", "1")


def test_where_to_run(script, jobs_run):
    call("run", "-H", "localhost:3", script)
    Path("hosts").write_text("localhost slots=4\n")
    call("run", "--hostfile", "hosts", "-np", "2", "--output", "logs", script)
    assert (jobs_run[0][1].size, jobs_run[0][1].hosts) == (3, (Host("localhost", 3),))
    assert (jobs_run[1][1].size, jobs_run[1][1].hosts) == (2, (Host("localhost", 4),))
    assert jobs_run[1][4] == Path("logs")


def test_slurm_is_found(script, jobs_run, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-2]")
    monkeypatch.setenv("SLURM_TASKS_PER_NODE", "2(x2)")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    call("run", script)
    assert jobs_run[0][1].size == 4
    assert jobs_run[0][1].allocated


def test_the_launcher_can_be_chosen(script, jobs_run, monkeypatch):
    call("run", "-np", "2", "--launcher", "gloo", script)
    assert isinstance(jobs_run[0][2], Gloo)
    monkeypatch.setattr(
        "fdtcore.launcher.jobs.find_mpirun", lambda python, path: "/x/mpirun"
    )
    monkeypatch.setattr("fdtcore.launcher.jobs.identify", OpenMpi)
    call("run", "-np", "1", "--launcher", "mpirun", script)
    assert jobs_run[1][2] == OpenMpi("/x/mpirun")
    monkeypatch.setattr("fdtcore.launcher.jobs.find_mpirun", lambda python, path: None)
    call("run", "-np", "2", script)
    assert isinstance(jobs_run[2][2], Gloo)  # for want of an mpirun
    monkeypatch.setenv("PATH", "/nothing")  # machines of a cluster have one
    result = call("run", "-np", "2", "--launcher", "srun", script)
    assert "no srun on PATH" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-np", "0", "train.py"], "Received: -np 0. Use -np 1"),
        (["-np", "-3", "train.py"], "Received: -np -3."),
        (["train.py"], "Try: hfdt run -np 2 train.py"),
        (["-np", "2", "none.py"], "the script must exist. Received: none.py"),
        (["-np", "2", "broken.py"], "broken.py:2: '(' was never closed."),
        (["-np", "2", "-m", "no_such"], "Received: -m no_such"),
        (["-H", "no-such.invalid:2", "train.py"], "Received: no-such.invalid."),
        (["-H", "localhost:x", "train.py"], "Received: 'localhost:x'"),
        (["--hostfile", "none", "train.py"], "none: No such file or directory."),
        (
            ["-np", "2", "-H", "10.0.0.1:2", "--launcher", "gloo", "train.py"],
            "on this machine only. Received: 10.0.0.1.",
        ),
    ],
)
def test_wrong_usage_is_refused_before_anything_starts(
    script, jobs_run, words, message
):
    Path("broken.py").write_text("x = 1\ny = (2\n")
    result = call("run", *words)
    assert result.exit_code == 2
    assert result.output.startswith("hfdt: ")
    assert message in result.output
    assert not jobs_run


def test_a_launcher_within_a_rank_is_refused(script, jobs_run, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    result = call("run", "-np", "2", script)
    assert result.exit_code == 2
    assert "python -m hfdt train.py" in result.output


def test_horovod_is_asked_for_only_where_it_is_needed(script, jobs_run, monkeypatch):
    monkeypatch.setattr(install, "check_installed", lambda: "hfdt needs Horovod.")
    assert call("run", "-np", "1", script).exit_code == 5
    result = call("run", "-np", "2", script)
    assert (result.exit_code, result.output) == (1, "hfdt: hfdt needs Horovod.\n")


def test_install_horovod(monkeypatch):
    given = {}
    monkeypatch.setattr(install, "install_horovod", lambda **words: given.update(words))
    assert call("install-horovod", "--rebuild", "-j", "2").exit_code == 0
    assert (given["rebuild"], given["jobs"]) == (True, 2)

    def refuse(**words):
        raise install.InstallError("no compiler")

    monkeypatch.setattr(install, "install_horovod", refuse)
    result = call("install-horovod")
    assert (result.exit_code, result.output) == (1, "hfdt: no compiler\n")


def test_doctor(monkeypatch):
    monkeypatch.setattr(
        "hfdt.install.doctor.doctor", lambda report: report("fine") or 3
    )
    result = call("doctor")
    assert (result.exit_code, result.output) == (3, "fine\n")


def test_version():
    assert call("--version").output == f"hfdt, version {hfdt.__version__}\n"


def test_help_teaches():
    text = call("run", "--help").output
    for choice in CHOICES:
        assert choice[0] in text
    assert "hfdt run -np 4 train.py --epochs 3" in text


def test_the_command_line_loads_neither_tensorflow_nor_horovod():
    code = (
        "import sys, hfdt.cli, hfdt.__main__\n"
        "print([m for m in sys.modules if m in ('tensorflow', 'keras', 'horovod')])"
    )
    assert run_python("-c", code)[1] == "[]\n"


def run_python(*words, folder=ROOT, **environ):
    # Nothing but the command itself keeps TensorFlow quiet.
    quiet = {"TF_CPP_MIN_LOG_LEVEL": None}
    done = run(sys.executable, *words, folder=folder, **quiet, **environ)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [[], ["-q", "x.py"], ["-m"]])
def test_the_rank_program_shows_how_it_is_used(words):
    code, _, err = run_python("-m", "hfdt", *words)
    assert code == 2
    assert err.startswith("usage: python -m hfdt SCRIPT")


def test_the_rank_program_refuses_what_it_cannot_run():
    code, _, err = run_python("-m", "hfdt", "none.py")
    assert code == 2
    assert err.startswith("hfdt: the script must exist. Received: none.py")


def write_script(folder, text):
    (folder / "train.py").write_text(
        "import os, sys, time\n"
        "import hfdt\n"
        "rank = hfdt.rank()\n"
        "print('rank', rank, 'of', hfdt.size(), sys.argv[1:], flush=True)\n" + text
    )


@pytest.mark.horovod
@pytest.mark.mpi
@pytest.mark.parametrize("launcher", ["mpirun", "gloo"])
def test_a_real_job_speaks_with_one_voice(tmp_path, launcher):
    write_script(tmp_path, "")
    words = ["run", "-np", "2", "--launcher", launcher, "--output", "logs"]
    code, out, err = run_python(
        "-m", "hfdt.cli", *words, "train.py", "-np", "9", folder=tmp_path
    )
    assert (code, out) == (0, "rank 0 of 2 ['-np', '9']\n")
    # No chatter of TensorFlow, CUDA or Open MPI.
    assert err.splitlines()[-1] == "hfdt: output of rank 1 goes to logs/rank-1.log"
    assert not [line for line in err.splitlines() if not line.startswith("hfdt: ")]
    log = (tmp_path / "logs" / "rank-1.log").read_text()
    assert log == "rank 1 of 2 ['-np', '9']\n"


@pytest.mark.horovod
@pytest.mark.mpi
def test_a_plain_mpirun_speaks_with_one_voice_too(tmp_path):
    from fdtcore.launcher.mpirun import find_mpirun

    write_script(tmp_path, "")
    mpirun = find_mpirun(sys.executable, os.environ["PATH"])
    rank_program = (sys.executable, "-m", "hfdt", "train.py")
    words = (mpirun, "-np", "2", "-H", "localhost:2", *rank_program)
    done = run(*words, folder=tmp_path, TF_CPP_MIN_LOG_LEVEL=None)
    assert (done.returncode, done.stdout) == (0, "rank 0 of 2 []\n")
    assert done.stderr.startswith("hfdt: output of rank 1 goes to hfdt-logs/")
    [log] = tmp_path.glob("hfdt-logs/*/rank-1.log")
    assert log.read_text() == "rank 1 of 2 []\n"


# Each: variables, and what rank 0 says.
RANKS = {
    "unknown": ({"HFDT_BACH": "global"}, "Did you mean HFDT_BATCH?"),
    "wrong": ({"HFDT_STALL_TIMEOUT": "soon"}, "a number of seconds > 0"),
}


@pytest.mark.mpi
@pytest.mark.parametrize("case", RANKS)
def test_under_a_plain_mpirun_a_variable_is_refused_once(tmp_path, case):
    from tests.hfdt.real_jobs import Job

    variables, text = RANKS[case]
    (tmp_path / "train.py").write_text("pass\n")
    given = [f"{name}={value}" for name, value in variables.items()]
    words = ("mpirun", "--oversubscribe", "-np", 2, "env", *given, sys.executable)
    job = Job(tmp_path, *words, "-m", "hfdt", "train.py")
    assert job.left() == []
    assert job.code == 2, job.text
    assert job.text.count("hfdt: ") - job.text.count("hfdt: output of") == 1
    assert text in job.text


@pytest.mark.horovod
@pytest.mark.mpi
def test_a_failure_names_rank_exception_and_line(tmp_path):
    write_script(tmp_path, "if rank == 1:\n    raise ValueError('bad value')\n")
    code, _, err = run_python(
        "-m", "hfdt.cli", "run", "-np", "2", "train.py", folder=tmp_path
    )
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith("hfdt: rank 1/2 (")
    assert "failed: ValueError: bad value (train.py:6: raise ValueError" in last


@pytest.mark.horovod
@pytest.mark.mpi
@pytest.mark.parametrize("size", [1, 2])
def test_an_exit_code_is_passed_on_although_others_go_on(tmp_path, size):
    write_script(
        tmp_path, "sys.exit(3) if rank == hfdt.size() - 1 else time.sleep(600)"
    )
    words = ["run", "-np", str(size), "train.py"]
    code, _, err = run_python("-m", "hfdt.cli", *words, folder=tmp_path)
    assert code == 3
    if size > 1:
        assert "failed: SystemExit: 3 (" in err.splitlines()[-1]


@pytest.mark.horovod
@pytest.mark.mpi
def test_ctrl_c_stops_a_real_job(tmp_path):
    write_script(tmp_path, "open(f'up-{rank}', 'w').close(); time.sleep(100)")
    words = ("-m", "hfdt.cli", "run", "-np", "2", "train.py")
    with Process(sys.executable, *words, folder=tmp_path) as job:
        job.wait_until(lambda: len(list(tmp_path.glob("up-*"))) == 2, "both ranks")
        job.send(signal.SIGINT)
        done = job.ended()
    assert done.returncode == 130
    assert (
        done.stderr.splitlines()[-1] == "hfdt: stopped by SIGINT; every rank has ended."
    )


@pytest.mark.horovod
def test_one_process_shows_the_users_own_traceback(tmp_path):
    (tmp_path / "train.py").write_text("def f():\n    raise ValueError('bad')\nf()\n")
    code, _, err = run_python(
        "-m", "hfdt.cli", "run", "-np", "1", "train.py", folder=tmp_path
    )
    assert code == 1
    assert err.startswith("Traceback (most recent call last):\n")
    assert "__main__.py" not in err
    assert err.endswith("ValueError: bad\n")


@pytest.mark.horovod
def test_debug_keeps_our_own_frames(tmp_path):
    (tmp_path / "train.py").write_text("raise ValueError('bad')\n")
    words = ["run", "-np", "1", "--debug", "train.py"]
    _, _, err = run_python("-m", "hfdt.cli", *words, folder=tmp_path)
    assert "hfdt/__main__.py" in err


@pytest.mark.horovod
@pytest.mark.parametrize("word", ["Yes", "off"])
def test_a_switch_of_the_environment_is_read_like_any(tmp_path, word):
    (tmp_path / "train.py").write_text("raise ValueError('bad')\n")
    words = ("-m", "hfdt", "train.py")
    _, _, err = run_python(*words, folder=tmp_path, HFDT_DEBUG=word)
    assert ("hfdt/__main__.py" in err) == (word == "Yes")


@pytest.mark.horovod
def test_verbose_shows_what_tensorflow_says(tmp_path):
    (tmp_path / "train.py").write_text(
        "import os\nprint(os.environ.get('HFDT_VERBOSE'))"
    )
    words = ["run", "-np", "1", "--verbose", "train.py"]
    _, out, err = run_python("-m", "hfdt.cli", *words, folder=tmp_path)
    assert out == "1\n"
    assert err  # without --verbose it is empty: see the tests above
