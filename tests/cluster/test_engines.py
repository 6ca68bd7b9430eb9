"""Jobs in slots of Spark, Ray and Dask: that they train, and how they end."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import sys
import time

import pytest

from tests import processes
from tests.cluster.hosts import Hosts
from tests.processes import ROOT, Process, wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.horovod,
    pytest.mark.mpi,
    pytest.mark.slow,
]

SCRIPT = ROOT / "tests" / "cluster" / "script.py"
GONE_S = 10
# Two nodes on one machine.
RAY = """
import time
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
cluster.add_node(num_cpus=2)
print(f"cluster is at {cluster.address}", flush=True)
time.sleep(3600)
"""
PACKAGES = {"dask": "distributed", "ray": "ray", "spark": "pyspark"}
# Its names of machines are asked for at a name service that may not be there.
SPARK = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost"}
PROGRAMS = ("hfdt", "nfdt")


def skip_without(name):
    if importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{PACKAGES[name]} is not installed (make cluster-test does it)")
    if name == "spark" and not shutil.which("java"):
        pytest.skip("java is not installed (apt-get install default-jre-headless)")


@pytest.fixture(scope="module")
def clusters():
    """Gives the value of ``--on`` for an engine, whose cluster it then starts."""
    found: dict[str, str] = {}
    with contextlib.ExitStack() as stack:

        def start(*words):
            return stack.enter_context(Process(*words, merged=True, lean=False))

        def on(name):
            skip_without(name)
            if name not in found:
                found[name] = STARTS[name](start)
            return f"{name}={found[name]}"

        yield on


def told(process, pattern):
    found = process.wait_until(lambda: re.search(pattern, process.output), pattern)
    return found[1]


def start_dask(start):
    module = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = start(*module, "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    address = told(scheduler, r"Scheduler at: +(tcp://\S+)")
    for _ in range(2):
        start(*worker_of(address), "--nthreads", "2")
    return address


def worker_of(address):
    module = [sys.executable, "-m", "distributed.cli.dask_worker", address]
    return [*module, "--nworkers", "1", "--no-dashboard"]


STARTS = {
    "dask": start_dask,
    "ray": lambda start: told(start(sys.executable, "-c", RAY), r"cluster is at (\S+)"),
    "spark": lambda start: "local-cluster[2,2,1024]",
}


def command(program, on, *options, size=2):
    return (
        *(sys.executable, "-m", f"{program}.cli", "run", "-np", size),
        *("--on", on, *options, SCRIPT),
    )


def losses(text):
    return re.findall(r"\bloss (\S+)", text)


def ranks():
    """Returns what runs of jobs on this machine, in slots of an engine or not."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().replace(b"\0", b" ").decode()
            if re.search(r"-m (hfdt|nfdt)\S* ", words) and str(SCRIPT) in words:
                found[int(path.parent.name)] = words
    return {pid: words for pid, words in found.items() if processes.is_running(pid)}


def assert_nothing_is_left():
    wait_until(lambda: not ranks(), f"the end of {ranks()}", GONE_S)


@pytest.fixture(scope="module")
def alone():
    """The loss of the script on one process."""
    done = processes.run(sys.executable, SCRIPT, "epochs", 2)
    return losses(done.stdout)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", STARTS)
def test_a_job_trains_in_slots(clusters, alone, tmp_path, name, program):
    words = command(program, clusters(name), "--slots-timeout", "2min")
    done = processes.run(*words, "epochs", 2, folder=tmp_path, **SPARK)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{program}: \d slots of {name} on ", done.stderr)
    assert len(losses(done.stdout)) == 1
    if program == "hfdt":
        assert losses(done.stdout) == alone
    else:
        assert "updates/s" in done.stderr
    assert_nothing_is_left()


@pytest.mark.parametrize("name", ["dask", "ray"])
@pytest.mark.parametrize(
    ("what", "code", "line"),
    [
        ("raise", 1, r"rank 1/2 \(\S+\) failed: ValueError: this machine is not as"),
        ("exit", 7, r"rank 1/2 \(\S+\) failed: SystemExit: 7"),
    ],
)
def test_a_failure_is_named_as_on_this_machine(
    clusters, tmp_path, name, what, code, line
):
    words = command("hfdt", clusters(name))
    done = processes.run(*words, what, 1, folder=tmp_path)
    assert done.returncode == code
    last = done.stderr.splitlines()[-1]
    assert re.match(f"hfdt: {line}", last), done.stderr
    assert "See hfdt-logs/" in last
    assert "operations.cc" not in done.stderr
    assert_nothing_is_left()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_killed_process_is_named(clusters, tmp_path, program):
    words = command(program, clusters("dask"))
    with Process(*words, "epochs", 60, folder=tmp_path) as job:
        job.wait_for_text("epoch 1")
        [victim] = [pid for pid in ranks() if is_rank(pid, 1)]
        os.kill(victim, signal.SIGKILL)
        done = job.ended()
    if program == "hfdt":
        assert done.returncode == 137, done.stderr
        assert "rank 1/2" in done.stderr.splitlines()[-1]
    else:
        assert done.returncode == 0, done.stderr
        assert "worker 1 (rank 1) was lost; 1 worker goes on" in done.stderr
    assert_nothing_is_left()


def is_rank(pid, number):
    environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    names = (b"HOROVOD_RANK", b"OMPI_COMM_WORLD_RANK")
    return any(b"%s=%d" % (name, number) in environ for name in names)


ENDS = [
    *(("dask", program, signal.SIGINT) for program in PROGRAMS),
    *(("dask", program, signal.SIGKILL) for program in PROGRAMS),
    ("dask", "hfdt", signal.SIGTERM),
    ("ray", "hfdt", signal.SIGKILL),
    ("ray", "nfdt", signal.SIGTERM),
]


@pytest.mark.parametrize(("name", "program", "number"), ENDS)
def test_nothing_is_left_of_a_job_that_is_ended(
    clusters, tmp_path, name, program, number
):
    words = command(program, clusters(name))
    with Process(*words, folder=tmp_path) as job:
        job.wait_for_text("epoch 0")
        job.send(number)
        done = job.ended()
        assert_nothing_is_left()
    if number != signal.SIGKILL:
        assert done.returncode == 128 + number
        said = f"{program}: stopped by {number.name}; every rank has ended."
        assert done.stderr.splitlines()[-1] == said


def test_a_word_of_a_batch_system_reaches_the_script(clusters, tmp_path):
    words = command("hfdt", clusters("dask"))
    with Process(*words, "handler", folder=tmp_path) as job:
        job.wait_for_text("epoch 0")
        job.send(signal.SIGUSR1)
        job.wait_for_text("USR1 on rank 0")


REFUSALS = {
    "too few slots of Dask": (
        "dask",
        {},
        r"dask must have 9 slots\. Received: 4 within 3 s",
    ),
    "too few slots of Ray": (
        "ray",
        {},
        r"ray must have 9 slots\. Received: 4 within 3 s",
    ),
    "too few slots of Spark": (
        "spark=local[2]",
        {},
        r"spark must have 9 slots\. Received: 2 within 3 s",
    ),
    "no scheduler": (
        "dask=tcp://127.0.0.1:9",
        {},
        r"the scheduler of Dask must be reachable\. Received: tcp://127\.0\.0\.1:9",
    ),
    "no name of a scheduler": ("dask=", {}, "the scheduler of Dask must be named"),
    "no head": ("ray=127.0.0.1:9", {}, "the head of Ray must be reachable"),
    "a client's address": ("ray=ray://h:1", {}, r"of Ray Client\. Start the job on"),
    "no java": ("spark=local[2]", {"JAVA_HOME": "/nowhere"}, "Spark needs Java 17"),
    "executors that come and go": (
        "spark=local[2]",
        {"SPARK_CONF_DIR": "conf"},
        r"Received: spark\.dynamicAllocation\.enabled=true",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_cluster_that_cannot_run_the_job_is_refused(clusters, tmp_path, what):
    on, variables, line = REFUSALS[what]
    skip_without(on.partition("=")[0])
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "spark-defaults.conf").write_text("spark.dynamicAllocation.enabled true\n")
    words = command(
        "hfdt",
        on if "=" in on else clusters(on),
        *("--slots-timeout", "3s"),
        size=9,
    )
    done = processes.run(*words, folder=tmp_path, **{**SPARK, **variables})
    assert done.returncode == 2
    assert re.search(f"^hfdt: .*{line}", done.stderr.splitlines()[-1]), done.stderr
    assert not ranks()


@pytest.fixture
def dask_of_hosts(hosts, folder):
    """A scheduler on the first host, a worker on each."""
    skip_without("dask")
    with contextlib.ExitStack() as stack:

        def start(host, *words):
            process = hosts.start(host, *words, folder=folder, merged=True, lean=False)
            return stack.enter_context(process)

        module = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
        scheduler = start("node1", *module, "--host", "node1", "--no-dashboard")
        address = told(scheduler, r"Scheduler at: +(tcp://\S+)")
        for host in hosts.names:
            start(host, *worker_of(address), "--nthreads", "1")
        yield hosts, folder, f"dask={address}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_job_trains_in_slots_of_three_hosts(dask_of_hosts, alone, program):
    hosts, folder, on = dask_of_hosts
    words = command(program, on, size=3 if program == "hfdt" else 2)
    done = hosts.run("node1", *words, "epochs", 2, folder=folder)
    assert done.returncode == 0, done.stderr
    assert re.search(r"3 slots of dask on node\d, node\d, node\d\.", done.stderr)
    assert len(losses(done.stdout)) == 1
    if program == "hfdt":
        assert losses(done.stdout) == alone


def test_a_host_that_is_cut_off_ends_the_job(dask_of_hosts):
    hosts, folder, on = dask_of_hosts
    words = command("hfdt", on, "--link-timeout", "6", size=3)
    with hosts.start("node1", *words, folder=folder) as job:
        job.wait_for_text("epoch 1")
        hosts.cut("node3")
        cut_s = time.monotonic()
        done = job.ended()
        assert time.monotonic() - cut_s < 30
        assert done.returncode == 1 or done.returncode == 137
        assert "node3" in done.stderr.splitlines()[-1], done.stderr
        wait_until(lambda: not of_jobs(hosts), "the end of all ranks", 20)


def of_jobs(hosts: Hosts) -> list[str]:
    return [
        words
        for host in hosts.names
        for words in hosts.pids(host).values()
        if str(SCRIPT) in words
    ]
