"""Which interface reaches the other machines of a job."""

import ipaddress
import socket

import pytest

from fdtcore import interfaces
from fdtcore.interfaces import Interface, address_of_job, matching, smallest_network


def interface(name, text):
    own = ipaddress.ip_interface(text)
    return Interface(name, own.ip, own.network)


LOOPBACK = interface("lo", "127.0.0.1/8")
CABLE = interface("eth0", "10.66.0.1/24")
OTHER = interface("eth1", "10.69.0.1/24")
DOCKER = interface("docker0", "172.17.0.1/16")


@pytest.fixture
def machine(monkeypatch):
    """Makes this machine one with other interfaces and another address of its name."""

    def has(*found, named="127.0.1.1", default=None):
        monkeypatch.setattr(interfaces, "interfaces", lambda: found)
        monkeypatch.setattr(interfaces, "towards", lambda address: default)
        monkeypatch.setattr(socket, "gethostbyname", lambda name: named)

    return has


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("eth1", OTHER),
        ("10.66.0.1", CABLE),
        ("10.66.0.0/16", CABLE),
        ("ib0,eth1", OTHER),
        ("10.70.0.0/24", None),
        ("eth", None),
    ],
)
def test_a_name_an_address_or_a_network_means_an_interface(wanted, found):
    assert matching(wanted, [LOOPBACK, CABLE, OTHER]) == found


def test_what_the_user_names_is_taken_and_must_be_there(machine):
    machine(LOOPBACK, CABLE, OTHER, named="10.66.0.1")
    assert address_of_job("eth1") == "10.69.0.1"
    with pytest.raises(ValueError, match=r"Received: ib0; .* lo 127\.0\.0\.1, eth0 10"):
        address_of_job("ib0")


def test_the_address_of_the_name_is_taken_unless_it_is_of_the_machine_alone(machine):
    machine(LOOPBACK, DOCKER, CABLE, OTHER, named="10.69.0.1")
    assert address_of_job() == "10.69.0.1"
    machine(LOOPBACK, DOCKER, CABLE, named="127.0.1.1")
    assert address_of_job() == "10.66.0.1"  # not the bridge of containers


def test_of_several_the_one_with_the_default_route_is_taken(machine):
    machine(LOOPBACK, CABLE, OTHER, default="10.69.0.1")
    assert address_of_job() == "10.69.0.1"
    machine(LOOPBACK, CABLE, OTHER, default="172.17.0.1")
    assert address_of_job() == "10.66.0.1"


def test_a_machine_that_nobody_reaches_is_refused(machine):
    machine(LOOPBACK, DOCKER)
    with pytest.raises(ValueError, match="no interface that other machines reach"):
        address_of_job()


def test_this_machine_has_a_loopback_interface():
    found = interfaces.interfaces()
    assert any(one.address.is_loopback and one.is_inside for one in found)
    assert interfaces.towards("127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize(
    ("addresses", "network"),
    [
        (["10.0.0.1"], "10.0.0.1/32"),
        (["10.0.0.1", "10.0.0.2"], "10.0.0.0/30"),
        (["10.0.1.5", "10.0.2.5"], "10.0.0.0/22"),
        (["fd00::1", "fd00::2"], "fd00::/126"),
    ],
)
def test_the_smallest_network_that_holds_all(addresses, network):
    found = smallest_network([ipaddress.ip_address(one) for one in addresses])
    assert found == ipaddress.ip_network(network)
