import os
import sys

import pytest

from fdtcore import settings
from tests.processes import run


def test_ranks_share_the_cores_of_the_node():
    added = settings.settings(local_size=3, cores=8, environ={})
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    assert [added[name] for name in names] == ["2", "2", "2"]


def test_more_ranks_than_cores_still_get_a_thread_each():
    added = settings.settings(local_size=8, cores=2, environ={})
    assert added["TF_NUM_INTRAOP_THREADS"] == "1"


def test_one_rank_keeps_the_threads_tensorflow_would_choose():
    added = settings.settings(local_size=1, cores=8, environ={})
    assert not [name for name in added if "THREADS" in name]


@pytest.mark.parametrize(
    ("workers", "servers", "cores", "threads"),
    [
        (2, 1, 2, 1),  # a core for each worker: that of the one that waits
        (2, 1, 1, 1),
        (14, 1, 16, 3),  # two cores that are left, and one
        (7, 1, 16, 4),
        (14, 2, 16, 1),
        (1, 1, 4, 4),  # one worker, which waits
        (0, 1, 8, 8),  # no worker
        (0, 3, 8, 2),
    ],
)
def test_a_server_takes_no_core_from_a_worker_that_computes(
    workers, servers, cores, threads
):
    assert settings.server_threads(workers, servers, cores) == threads


def test_waiting_ranks_yield():
    added = settings.settings(local_size=2, cores=2, environ={})
    assert added["OMPI_MCA_mpi_yield_when_idle"] == "1"
    assert added["HOROVOD_CYCLE_TIME"] == "0.1"


@pytest.mark.parametrize("name", settings.settings(2, 2, {}))
def test_what_the_user_set_stays(name):
    assert name not in settings.settings(2, 2, {name: "7"})


def test_verbose_leaves_tensorflow_its_words():
    assert settings.settings(1, 1, {})["TF_CPP_MIN_LOG_LEVEL"] == "3"
    assert "TF_CPP_MIN_LOG_LEVEL" not in settings.settings(1, 1, {}, verbose=True)


def test_only_root_is_given_open_mpis_permission():
    assert settings.root_permission({}, uid=1000) == {}
    assert set(settings.root_permission({}, uid=0).values()) == {"1"}
    assert settings.root_permission({"OMPI_ALLOW_RUN_AS_ROOT": "0"}, uid=0) == {
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"
    }


def test_apply_completes_an_environment():
    environ = {"HOROVOD_CYCLE_TIME": "5"}
    settings.apply(2, environ)
    assert environ["HOROVOD_CYCLE_TIME"] == "5"
    assert environ["OMP_NUM_THREADS"] == str(max(1, settings.available_cores() // 2))


@pytest.mark.parametrize(("cores", "found"), [(1, "2"), (8, None)])
def test_one_core_has_two_threads_where_a_step_calls_a_function(
    cores, found, monkeypatch
):
    monkeypatch.setattr(settings, "available_cores", lambda: cores)
    environ = {}
    settings.apply_two_at_once(environ)
    assert environ.get("TF_NUM_INTEROP_THREADS") == found
    chosen = {"TF_NUM_INTEROP_THREADS": "1"}
    settings.apply_two_at_once(chosen)
    assert chosen["TF_NUM_INTEROP_THREADS"] == "1"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_cores_are_those_this_process_may_use():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from fdtcore import settings; print(settings.available_cores())"
    )
    assert run(sys.executable, "-c", code).stdout == "1\n"
