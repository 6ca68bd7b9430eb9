"""Workers in virtual time: closed forms, chance, deaths, joins, edge nodes."""

import random

import numpy as np
import pytest

from nfdt.clusters.machines import Dies, Edge, Joins, Link, Servers, Slower
from nfdt.clusters.step_times import Constant, Exponential, Gamma
from nfdt.protocol.events import Use
from nfdt.protocol.gradients import WIRE_TYPES
from nfdt.simulation.network import Network, ring_s
from tests.nfdt.simulation.toys import Job, cluster

FORMS = ("asp", "bsp", "ssp:2", "partial:0.6", "backup:1", "dsp", "local:3")


def test_even_workers_are_as_late_as_there_are_others():
    job = Job(cluster([1.0] * 5), batches=200)
    later = [event.staleness for event in job.events[20:-10]]
    assert set(later) == {4}
    assert job.simulator.now_s == pytest.approx(200 / 5)


def test_a_slow_worker_takes_fewer_batches():
    job = Job(cluster([1.0, 1.0, 4.0]), batches=90)
    counts = np.bincount([wanted.worker for wanted in job.wanted])
    assert counts[0] == counts[1] == 4 * counts[2]
    assert job.numbers() == list(range(90))


def test_everybody_waits_for_the_slowest():
    job = Job(cluster([1.0, 1.0, 4.0]), form="bsp", batches=30)
    assert job.simulator.now_s == pytest.approx(10 * 4)
    assert job.services[0].groups[0].version == 10


def test_a_round_is_the_mean_of_its_batches():
    """One step of BSP: all compute at ones, so the mean is 1 + mean number / 1000."""
    job = Job(cluster([1.0] * 4), form="bsp", batches=4)
    np.testing.assert_allclose(job.params, 1 - 0.05 * (1 + 1.5 / 1000))


@pytest.mark.parametrize(("count", "size"), [(1, 6), (2, 6), (3, 6)])
def test_several_servers_give_what_one_gives(count, size):
    steps = [1.0, 1.3, 2.1]
    one = Job(cluster(steps), batches=30).params
    several = Job(cluster(steps, servers=Servers(count)), batches=30).params
    assert several.size == size
    np.testing.assert_array_equal(one, several)


def test_messages_take_latency_and_bandwidth():
    """8 bytes each of 6 parameters: 48 bytes there, 48 back."""
    link = Link(latency_s=0.5, bytes_per_s=48.0)
    job = Job(cluster([1.0], link), batches=3)
    # A push and its answer take 0.5 + 1 s each; at the start all have the same values.
    assert job.at_s == pytest.approx([1.0, 5.0, 9.0])


def test_messages_in_a_narrower_type_take_less():
    """2 bytes each of 6 parameters: 12 bytes there, 12 back."""
    link = Link(latency_s=0.5, bytes_per_s=48.0)
    job = Job(cluster([1.0], link), batches=3, wire="bfloat16")
    assert job.at_s == pytest.approx([1.0, 3.5, 6.0])
    rounded = [wanted.params for wanted in job.wanted[1:]]
    for params in rounded:
        assert params.dtype == np.float64
        again = params.astype(WIRE_TYPES["bfloat16"]).astype(np.float64)
        np.testing.assert_array_equal(params, again)
    (shard,) = (service.groups[0] for service in job.services)
    assert not np.array_equal(shard.params, shard.params.astype("float32"))


def test_the_link_of_the_server_is_the_limit():
    fast = Link(0.0, 1e9)
    servers = Servers(link=Link(0.0, 48.0))  # one gradient a second
    job = Job(cluster([0.01] * 8, fast, servers), batches=100)
    assert job.simulator.now_s == pytest.approx(100, rel=0.05)


def test_updates_keep_the_server_busy():
    servers = Servers(bytes_per_s=96.0, overhead_s=0.5)  # a second each
    job = Job(cluster([0.01] * 8, servers=servers), batches=100)
    assert job.simulator.now_s == pytest.approx(100, rel=0.02)


def test_a_message_alone_takes_the_time_of_the_slower_link():
    network = Network(Servers(link=Link(1.0, 100.0)), [], np.random.default_rng(0))
    assert network.arrives_s(Link(2.0, 50.0), 0, 100, 10.0) == 10 + 1 + 2 + 2
    assert network.arrives_s(Link(2.0, 500.0), 0, 100, 20.0) == 20 + 1 + 2 + 1
    # A third one waits for the second, which is under way until 24.
    assert network.arrives_s(Link(2.0, 500.0), 0, 100, 20.5) == 25


def test_messages_to_several_servers_share_the_link_of_their_worker():
    network = Network(Servers(2), [], np.random.default_rng(0))
    assert network.arrives_s(Link(0.0, 50.0), 0, 100, 0.0) == 4
    assert network.arrives_s(Link(0.0, 50.0), 1, 100, 0.0) == 4


def test_jitter_is_added_with_its_mean():
    network = Network(Servers(), [], np.random.default_rng(0))
    link = Link(0.0, jitter_s=0.25)
    times = [network.returns_s(link, 0, 1, 0.0) for _ in range(4000)]
    assert np.mean(times) == pytest.approx(0.25, rel=0.05)


def test_a_ring_takes_two_rounds_of_parts():
    links = [Link(0.1, 100.0), Link(0.2, 50.0), Link(0.1, 100.0), Link(0.1, 100.0)]
    assert ring_s(links, 400) == pytest.approx(2 * 3 * (0.2 + 400 / 4 / 50))
    job = Job(
        cluster([1.0, 2.0], Link(0.5, 24.0), Servers(allreduce=True)),
        form="bsp",
        batches=4,
    )
    ring = 2 * (0.5 + 1)
    assert job.simulator.now_s == pytest.approx(2 * (2 + ring))


def test_a_worker_becomes_slower():
    slower = Slower(at_s=10.5, worker=0, factor=4)
    job = Job(cluster([1.0, 1.0], changes=[slower]), batches=60)
    of_first = [t for t, w in zip(job.at_s, job.wanted, strict=True) if w.worker == 0]
    assert of_first[:13] == pytest.approx([*range(1, 12), 15, 19])


def test_the_batches_of_the_dead_go_to_the_others():
    job = Job(cluster([1.0, 1.0, 1.0], changes=[Dies(3.5, 1)]), batches=30)
    assert job.numbers() == list(range(30))
    assert sum(wanted.worker == 1 for wanted in job.wanted) == 3


def test_who_joins_takes_batches_from_then_on():
    job = Job(cluster([1.0, 1.0], changes=[Joins(9.5, like=0, count=2)]), batches=60)
    joined = [t for t, w in zip(job.at_s, job.wanted, strict=True) if w.worker > 1]
    assert min(joined) == pytest.approx(10.5)
    assert job.numbers() == list(range(60))
    assert job.simulator.now_s == pytest.approx(
        20, abs=1
    )  # 18 batches, then 42 by four


def test_who_joins_between_epochs_begins_with_the_next():
    job = Job(cluster([1.0, 8.0], changes=[Joins(7.5, like=0)]), batches=8, epochs=3)
    assert {w.worker for w in job.wanted if w.epoch == 2} == {0, 1, 2}


def test_nobody_left_is_said():
    changes = [Dies(2.5, 0), Dies(3.5, 1)]
    with pytest.raises(RuntimeError, match="must have a worker that can go on"):
        Job(cluster([1.0, 1.0], changes=changes), batches=60)


def test_an_edge_node_is_one_worker_with_the_mean_of_its_terminals():
    """A round of batches 0 and 1, and one of batch 2, which nobody lays in store."""
    made = cluster([1.0] * 2, Link(0.25), edges=[Edge(2, Link(1.0))])
    job = Job(made, batches=3)
    assert [(event.worker, event.number) for event in job.events] == [(0, 0), (0, 2)]
    first = 1 - 0.05 * (1 + 0.5 / 1000)
    np.testing.assert_allclose(job.params, first - 0.05 * (first + 2 / 1000))
    # A result goes up by two links, the answer down by both, then comes a step.
    assert job.at_s == pytest.approx([1.0, 1.0, 1 + 2 * 1.25 + 1])


def test_an_edge_node_goes_on_without_a_terminal():
    edges = [Edge(3, Link(0.1))]
    made = cluster([1.0] * 3, Link(0.1), edges=edges)
    job = Job(type(made)(made.groups, made.servers, (Dies(4.5, 1),)), batches=31)
    assert job.numbers() == list(range(31))
    assert all(w.worker != 1 for w in job.wanted[9:])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(4))
def test_equal_seeds_give_equal_bytes(form, seed):
    def job(seed):
        return Job(_any_cluster(seed), form=form, seed=seed, epochs=2)

    one, same, other = job(seed), job(seed), job(seed + 1)
    assert one.params.tobytes() == same.params.tobytes()
    assert repr(one.events) == repr(same.events)
    assert repr(one.events) != repr(other.events)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(25))
def test_every_batch_is_trained_on_whoever_dies_or_joins(form, seed):
    job = Job(_any_cluster(seed, changes=True), form=form, seed=seed, epochs=2)
    for epoch in range(2):
        numbers = job.numbers(epoch)
        assert set(numbers) == set(range(40))
        if form in ("dsp", "local:3"):
            assert _merged(job.events, epoch) == list(range(40))
        else:
            # Two may have trained on one: it was in the hand of one that died.
            assert len(numbers) - 40 <= _deaths(seed)


def _merged(events, epoch):
    """Returns the batches whose local steps their worker has pushed."""
    pushed = {event.worker: event.clock for event in events if event.use != Use.OWN}
    return sorted(
        event.number
        for event in events
        if event.epoch == epoch
        and event.use == Use.OWN
        and event.clock < pushed.get(event.worker, 0)
    )


def _any_cluster(seed, *, changes=False):
    chance = random.Random(seed)
    kinds = (Constant, lambda mean: Gamma(mean, 0.3), Exponential)
    count = chance.randint(2, 6)
    steps = [chance.choice(kinds)(chance.uniform(0.5, 3)) for _ in range(count)]
    link = Link(chance.uniform(0, 0.3), chance.choice([100.0, 1e9]), 0.01)
    dead = [Dies(chance.uniform(0, 40), worker) for worker in range(_deaths(seed))]
    joins = [Joins(chance.uniform(0.1, 40), chance.randrange(count))]
    planned = [*dead[: count - 1], *joins, Slower(5.0, count - 1, 3.0)]
    return cluster(steps, link, Servers(overhead_s=0.1), planned if changes else ())


def _deaths(seed):
    return seed % 3
