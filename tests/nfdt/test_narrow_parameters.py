"""Parameters that answer a push in a narrower type than the servers keep."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nfdt.protocol import topology
from nfdt.protocol.client import NotFinite, ShardedVector
from nfdt.protocol.controllers import BulkSynchronous
from nfdt.protocol.gradients import WIRE_TYPES, Dense, narrower
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.protocol.shard_server import ShardServer
from nfdt.protocol.transport import LocalTransport
from tests.nfdt import rules

SIZE = 7
START = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
GRADIENT = np.random.default_rng(1).normal(size=SIZE).astype(np.float32)
NARROW = ("bfloat16", "float16")
SPEC = GroupSpec(
    algorithm="asgd",
    optimizer={"class_name": "SGD", "config": {}},
    variables=(("weights", (SIZE,)),),
    dtype="float32",
    wire="float32",
)


def opened(returned="", num_servers=1, row="asgd momentum", wire="float32"):
    """Returns a worker's vector, opened, and the servers' shards."""

    def make(spec, params):
        made = rules.update(row, params, 1)
        dtype = WIRE_TYPES[spec.returned or spec.dtype]
        controller = rules.CONTROLLERS["asp"]
        return ShardServer(params, made, controller, 1, 0.1, returned=dtype)

    services = [Service(1, make) for _ in range(num_servers)]
    transport = LocalTransport(services, lambda: 0.0)
    vector = ShardedVector(transport, 0, 0, [SIZE], "float32", wire, returned)
    vector.open(dataclasses.replace(SPEC, wire=wire, returned=returned), START)
    return vector, [service.groups[0] for service in services]


def on_servers(shards):
    return np.concatenate([shard.params for shard in shards])


def same_bits(one, other):
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("num_servers", [1, 2])
@pytest.mark.parametrize("returned", NARROW)
def test_a_push_is_answered_rounded_and_a_pull_in_full(returned, num_servers):
    vector, shards = opened(returned, num_servers)
    assert same_bits(vector.params, START)
    for _ in range(3):
        vector.push([Dense(0, GRADIENT)])
        kept = on_servers(shards)
        rounded = kept.astype(WIRE_TYPES[returned])
        assert same_bits(vector.received, rounded)
        assert same_bits(vector.params, rounded.astype(np.float32))
        assert not np.array_equal(vector.params, kept)
    vector.pull()
    assert same_bits(vector.params, kept)
    assert same_bits(vector.received, kept)


@pytest.mark.parametrize("returned", ["", "float32"])
def test_in_their_own_type_parameters_are_what_the_servers_have(returned):
    vector, shards = opened(returned)
    vector.push([Dense(0, GRADIENT)])
    assert same_bits(vector.params, on_servers(shards))
    assert vector.received is vector.params


@pytest.mark.parametrize("num_servers", [1, 2])
def test_the_servers_go_on_from_what_they_have(num_servers):
    """What a narrow answer loses is lost for one step: nothing adds up."""
    narrow, narrow_shards = opened("bfloat16", num_servers)
    full, full_shards = opened("", num_servers)
    for _ in range(5):
        narrow.push([Dense(0, GRADIENT)])
        full.push([Dense(0, GRADIENT)])
    assert same_bits(on_servers(narrow_shards), on_servers(full_shards))


@pytest.mark.parametrize("row", rules.ROWS)
@pytest.mark.parametrize("controller", ["asp", "bsp", "ssp1"])
def test_corrections_take_what_a_worker_was_sent(row, controller):
    """Bit by bit as on a server that is told what its workers computed at."""
    who = rules.CONTROLLERS[controller]
    pair = []
    for returned in (None, WIRE_TYPES["bfloat16"]):
        params = START.copy()
        update = rules.update(row, params)
        made = ShardServer(params, update, who, 3, 0.1, returned=returned)
        for worker in range(3):
            made.handle(Message(Kind.PULL, worker), 0.0)
        pair.append(made)
    full, narrow = pair
    for worker, gradient in rules.schedule(3, 40, SIZE):
        if isinstance(who, BulkSynchronous):
            worker = len(narrow.progress.held())
        if narrow.progress[worker].waiting_since_s is not None:
            continue  # it waits for the others
        gradient = gradient.astype(np.float32)
        rules.push(full, worker, gradient.copy())
        for answer in rules.push(narrow, worker, gradient.copy()):
            told = full.progress[answer.worker]
            wide = answer.payload.astype(np.float32)
            told.pulled = told.pulled._replace(params=wide)
        assert same_bits(full.params, narrow.params)


def test_a_refused_gradient_leaves_the_parameters_as_they_were():
    vector, _ = opened("bfloat16")
    vector.push([Dense(0, GRADIENT)])
    before = vector.params.copy()
    with pytest.raises(NotFinite):
        vector.push([Dense(0, np.full_like(GRADIENT, np.nan))])
    assert same_bits(vector.params, before)


def test_refused_by_one_server_the_other_parts_are_taken():
    vector, shards = opened("bfloat16", num_servers=2)
    wrong = GRADIENT.copy()
    wrong[-1] = np.nan
    with pytest.raises(NotFinite):
        vector.push([Dense(0, wrong)])
    cut = topology.split(SIZE, 2)[0].stop
    answered = shards[0].params.astype(WIRE_TYPES["bfloat16"]).astype(np.float32)
    assert same_bits(vector.params[:cut], answered)
    assert same_bits(vector.params[cut:], START[cut:])
    assert vector.received is vector.params  # in full: not all of it is rounded


def test_what_a_program_sets_by_hand_does_not_round_the_rest():
    vector, shards = opened("bfloat16")
    vector.push([Dense(0, GRADIENT)])
    kept = on_servers(shards).copy()
    values = vector.params.copy()
    values[2] = 1.2345678
    vector.load(values)
    kept[2] = values[2]
    assert same_bits(on_servers(shards), kept)
    assert same_bits(vector.params, kept)


def test_after_a_pull_all_values_are_taken_as_they_are():
    vector, shards = opened("bfloat16")
    vector.push([Dense(0, GRADIENT)])
    rounded = vector.params.copy()
    vector.pull()
    vector.load(rounded)
    assert same_bits(on_servers(shards), rounded)


@pytest.mark.parametrize("is_rounded", [True, False])
def test_another_worker_takes_what_was_received(is_rounded):
    one, _ = opened("bfloat16")
    other, _ = opened("bfloat16")
    one.push([Dense(0, GRADIENT)])
    if not is_rounded:
        one.pull()
    sent = one.received.tobytes()
    assert len(sent) == SIZE * (2 if is_rounded else 4)
    other.take(sent, 5, 0.1)
    assert same_bits(other.params, one.params)
    assert same_bits(other.received, one.received)


@pytest.mark.parametrize(
    ("dtype", "wire", "returned"),
    [
        ("float32", "bfloat16", "bfloat16"),
        ("float32", "float16", "float16"),
        ("float32", "float32", "float32"),
        ("float32", "float64", "float32"),
        ("float64", "float32", "float32"),
        ("float64", "bfloat16", "bfloat16"),
        ("bfloat16", "float16", "bfloat16"),
        ("float16", "float32", "float16"),
    ],
)
def test_parameters_never_travel_in_a_wider_type(dtype, wire, returned):
    assert narrower(dtype, wire) == returned
