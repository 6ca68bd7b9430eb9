"""The network of a job on several machines, and what MPI is told of it."""

from pathlib import Path

import pytest

from fdtcore.launcher import network
from fdtcore.launcher.network import common, interfaces_of
from fdtcore.launcher.preflight import Machine

LO = ["lo", "127.0.0.1", "255.0.0.0"]
DOCKER = ["docker0", "172.17.0.1", "255.255.0.0"]


def variables(name, num_machines, environ, own="10.66.0"):
    [here] = machines([cable("eth0", own, 9)])
    return network.variables(name, num_machines, environ, interfaces_of(here))


def machines(*several):
    return [
        Machine(f"node{n}", {"interfaces": [LO, *own]})
        for n, own in enumerate(several, start=1)
    ]


def cable(name, prefix, number):
    return [name, f"{prefix}.{number}", "255.255.255.0"]


def test_the_network_that_all_have_and_no_bridge_of_containers():
    found = machines(
        [DOCKER, cable("eth0", "10.66.0", 1)], [DOCKER, cable("ens3", "10.66.0", 2)]
    )
    assert common(found, {}) == "10.66.0.0/24"


def test_of_two_networks_the_one_that_the_names_lead_to():
    both = [[cable("eth0", "10.69.0", n), cable("eth1", "10.66.0", n)] for n in (1, 2)]
    assert common(machines(*both), {"node2": "10.66.0.2"}) == "10.66.0.0/24"
    assert common(machines(*both), {}) == "10.69.0.0/24"


def test_machines_with_nothing_in_common_have_no_network():
    apart = machines([cable("eth0", "10.66.0", 1)], [cable("eth0", "10.67.0", 1)])
    assert common(apart, {}) == ""
    names = {"node1": "10.66.0.1", "node2": "10.67.0.1"}
    assert common(apart, names) == "10.66.0.0/15"  # there is a router


def test_mpi_is_told_of_the_network_and_how_to_log_in():
    found = variables("10.66.0.0/24", 3, {})
    assert found["OMPI_MCA_btl_tcp_if_include"] == "10.66.0.0/24"
    assert found["PRTE_MCA_prte_if_include"] == "10.66.0.0/24"
    assert "BatchMode=yes" in found["PRTE_MCA_plm_ssh_agent"]
    assert Path(found["OMPI_MCA_coll_tuned_dynamic_rules_filename"]).exists()
    assert "SLURM_OVERLAP" not in found


@pytest.mark.parametrize(
    "name",
    [
        "OMPI_MCA_btl_tcp_if_include",
        "OMPI_MCA_btl_tcp_if_exclude",
        "OMPI_MCA_coll_tuned_use_dynamic_rules",
    ],
)
def test_what_the_user_has_set_stays(name):
    found = variables("10.66.0.0/24", 3, {name: "own"})
    assert name.replace("exclude", "include") not in found


def test_a_login_node_outside_of_the_network_may_start_jobs_in_it():
    found = variables("10.66.0.0/24", 3, {}, own="192.168.1")
    assert found["OMPI_MCA_btl_tcp_if_include"] == "10.66.0.0/24"
    assert "PRTE_MCA_prte_if_include" not in found


def test_between_two_machines_open_mpi_chooses_itself():
    assert not any("coll" in name for name in variables("10.66.0.0/24", 2, {}))
    found = variables("10.66.0.0/24", 3, {})
    assert found["OMPI_MCA_coll_han_priority"] == "0"


def test_an_agent_of_the_users_stays():
    found = variables("", 3, {"OMPI_MCA_plm_rsh_agent": "agent.py"})
    assert "PRTE_MCA_plm_ssh_agent" not in found
    assert "OMPI_MCA_btl_tcp_if_include" not in found


def test_within_a_step_of_slurm_cores_are_shared_with_it():
    assert variables("", 3, {"SLURM_STEP_ID": "0"})["SLURM_OVERLAP"] == "1"
