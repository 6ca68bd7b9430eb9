"""The exchange's job and the server's updates, measured small."""

import pytest

from benchmarks import exchange, server_update
from benchmarks.running import output_of


def test_lines_of_other_processes_are_passed_over():
    line = '{"exchange": [{"parameters": 5, "exchange": [2.0], "updating": [3.0], '
    output = f'nfdt: updates 3\n{line}"plain": [1.0]}}]}}\nmore\n'
    assert exchange.read(output) == [
        (exchange.EXCHANGE, 5, (2.0,), (1.0,)),
        (exchange.UPDATING, 5, (3.0,), (1.0,)),
    ]


def test_a_job_without_times_is_an_error():
    with pytest.raises(ValueError, match="must print its times"):
        exchange.read("nfdt: updates 3\n")


def test_small_payloads_are_exchanged_more_often():
    assert [exchange.steps(size) for size in (100_000, 25_000_000)] == [100, 5]


def test_every_rule_is_measured_beside_the_same_copy():
    found = server_update.measure(1000, rounds=2, steps=1)
    assert [one.name for one in found] == list(server_update.RULES)
    assert len({one.reference_s for one in found}) == 1
    assert all(len(one.seconds) == 2 and min(one.seconds) > 0 for one in found)


@pytest.mark.mpi
def test_a_worker_and_a_server_measure_their_exchange():
    launch = exchange.launch((1000, 3000), rounds=2)
    found = exchange.read(output_of([launch], timeout_s=60))
    assert [one.parameters for one in found] == [1000, 1000, 3000, 3000]
    assert all(min(one.seconds + one.reference_s) > 0 for one in found)
