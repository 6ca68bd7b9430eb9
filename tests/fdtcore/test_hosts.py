import socket

import pytest

from fdtcore.launcher import hosts
from fdtcore.launcher.hosts import Host


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", [Host("a", 1)]),
        ("a:2,b:4", [Host("a", 2), Host("b", 4)]),
        (" a:2 , b ", [Host("a", 2), Host("b", 1)]),
        ("a:2,b:1,a:1", [Host("a", 3), Host("b", 1)]),
        (
            "10.0.0.1:2,node-1.site.org",
            [Host("10.0.0.1", 2), Host("node-1.site.org", 1)],
        ),
        ("[fe80::1]:2", [Host("[fe80::1]", 2)]),
    ],
)
def test_host_lists(text, expected):
    assert list(hosts.parse_hosts(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "a:", "a:0", "a:-1", "a:x", "a,,b", "a b", "-x:2"]
)
def test_a_wrong_host_list_shows_an_example(text):
    with pytest.raises(ValueError, match=r"-H node1:4,node2:4"):
        hosts.parse_hosts(text)


@pytest.mark.parametrize(
    "text",
    [
        "a slots=2\nb slots=4\n",  # Horovod's and Open MPI's
        "a:2\nb:4",  # MPICH's
        "# two\n\na slots = 2  # first\nb slots=4 max_slots=8\n",
        "a\nb slots=4\na\n",
    ],
)
def test_host_files(text):
    assert list(hosts.parse_hostfile(text)) == [Host("a", 2), Host("b", 4)]


def test_a_wrong_line_of_a_host_file_is_numbered():
    with pytest.raises(ValueError, match=r"'b slot=4' in line 2"):
        hosts.parse_hostfile("a slots=2\nb slot=4\n")
    with pytest.raises(ValueError, match=r"'a slots=0' in line 1"):
        hosts.parse_hostfile("a slots=0\n")
    with pytest.raises(ValueError, match=r"at least one host"):
        hosts.parse_hostfile("# nothing\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1 n2"),
        ("node[01-03,07]", "node01 node02 node03 node07"),
        ("n[8-11]", "n8 n9 n10 n11"),
        ("a[1,3],b,c[2-3]", "a1 a3 b c2 c3"),
        ("r[1-2]n[1-2]-ib", "r1n1-ib r1n2-ib r2n1-ib r2n2-ib"),
        ("n[001]", "n001"),
    ],
)
def test_slurm_node_lists(text, expected):
    assert " ".join(hosts.expand_nodelist(text)) == expected


@pytest.mark.parametrize("text", ["n[1-", "n[a-b]", "n[3-1]", "n[]", "", "n]1"])
def test_a_broken_node_list_is_refused(text):
    with pytest.raises(ValueError, match=r"-H node1:4,node2:4"):
        hosts.expand_nodelist(text)


def test_slurm_task_counts():
    assert hosts.expand_counts("2(x3),1") == (2, 2, 2, 1)
    assert hosts.expand_counts("4") == (4,)
    with pytest.raises(ValueError, match="task counts"):
        hosts.expand_counts("2(3)")


def test_slurm_allocation():
    environ = {"SLURM_JOB_NODELIST": "n[1-3]", "SLURM_TASKS_PER_NODE": "2(x2),1"}
    expected = (Host("n1", 2), Host("n2", 2), Host("n3", 1))
    assert hosts.slurm_hosts(environ) == expected
    assert hosts.slurm_hosts({}) == ()


def test_slurm_variables_that_contradict_each_other_are_refused():
    environ = {"SLURM_JOB_NODELIST": "n[1-3]", "SLURM_TASKS_PER_NODE": "2(x2)"}
    with pytest.raises(ValueError, match="a count for each node"):
        hosts.slurm_hosts(environ)


def test_unknown_hosts_are_found(monkeypatch):
    def look_up(name, port):
        del port
        if name == "nowhere":
            raise socket.gaierror("Name or service not known")
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    named = hosts.parse_hosts("here:2,nowhere:2")
    assert hosts.unknown_hosts(named) == ("nowhere",)


def test_this_machine_is_known_under_its_names():
    assert hosts.is_local("localhost")
    assert hosts.is_local(socket.gethostname())
    assert not hosts.is_local("another.example.org")
