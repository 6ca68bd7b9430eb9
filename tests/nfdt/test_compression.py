"""What a worker takes over from the optimizer before its gradients are compressed."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from fdtcore.compression.layout import Layout
from fdtcore.compression.specification import Specification
from nfdt import algorithms
from nfdt.glue.compression import GradientCompression, check
from nfdt.glue.epochs import Epochs
from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.gradients import Dense, Rows
from nfdt.protocol.messages import Kind, Message

SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam
LAYOUT = Layout(((40, 30), (10,)), (False, True))
KERNEL = 1200


class OwnStep(SGD):
    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, learning_rate * gradient)


def made(text, optimizer, algorithm="asgd", workers=4, over=lambda epoch, number: 0.0):
    return GradientCompression(
        Specification.parse(text),
        optimizer,
        algorithms.find(algorithm),
        workers,
        LAYOUT,
        "float32",
        over,
    )


def served(text, optimizer, algorithm="asgd", workers=4):
    """Returns what differs in what the servers make the optimizer of, and what is said.

    The compressor's own momentum comes with it.
    """
    found = made(text, optimizer, algorithm, workers)
    config = keras.optimizers.serialize(optimizer)
    other = found.served(config)
    assert config == keras.optimizers.serialize(optimizer)  # left as it is
    assert {**other, "config": None} == {**config, "config": None}
    changed = {
        name: value
        for name, value in other["config"].items()
        if value != config["config"][name]
    }
    own = float(getattr(found.compressor, "_momentum", 0.0))
    return changed, own, found.lines()


def test_momentum_is_in_one_place():
    changed, own, (line,) = served("dgc:0.1", SGD(0.1, 0.9, nesterov=True))
    assert changed == {"momentum": 0.0, "nesterov": False}
    assert own == np.float32(0.9)
    assert "the momentum 0.9 of SGD acts on each worker" in line
    assert "the servers step without" in line


@pytest.mark.parametrize("algorithm", ["dc-asgdk", "dana-slim"])
def test_an_algorithm_with_momentum_keeps_it(algorithm):
    changed, own, (line,) = served("dgc:0.1", SGD(0.1, 0.9), algorithm)
    assert (changed, own) == ({}, 0.0)
    assert f"that of the optimizer is a part of {algorithm}." in line
    # Of one worker no gradient is late: its optimizer steps as it is.
    changed, own, _ = served("dgc:0.1", SGD(0.1, 0.9), algorithm, workers=1)
    assert (changed["momentum"], own) == (0.0, np.float32(0.9))


@pytest.mark.parametrize("text", ["topk:0.1", "sign", "powersgd:2"])
def test_other_kinds_leave_momentum_to_the_server(text):
    assert served(text, SGD(0.1, 0.9)) == ({}, 0.0, [])
    assert served(text, Adam()) == ({}, 0.0, [])


def test_norms_are_clipped_where_elements_are_chosen():
    for text in ("topk:0.1", "dgc:0.1"):
        changed, _, lines = served(text, SGD(0.1, global_clipnorm=1.0))
        assert changed == {"global_clipnorm": None}
        assert lines[-1] == "wire: workers clip gradients before they compress them."
    for text in ("sign", "powersgd:2"):
        assert served(text, SGD(0.1, clipnorm=1.0)) == ({}, 0.0, [])


@pytest.mark.parametrize("norm", ["clipnorm", "global_clipnorm"])
@pytest.mark.parametrize("factor", [None, 8.0])
def test_clipping_is_that_of_keras(norm, factor):
    values = np.random.default_rng(0).normal(size=(3, LAYOUT.size)).astype(np.float32)
    for scale, gradient in zip((0.01, 1.0, 30.0), values):
        own = SGD(1.0, loss_scale_factor=factor, **{norm: 2.0})
        kernel, bias = scale * gradient[:KERNEL], scale * gradient[KERNEL:]
        variables = [keras.Variable(np.zeros_like(one)) for one in (kernel, bias)]
        own.apply([keras.ops.convert_to_tensor(g) for g in (kernel, bias)], variables)
        expected = np.concatenate([-np.asarray(v) for v in variables])
        given = [Dense(0, kernel), Dense(KERNEL, bias)]
        (found,) = made("topk:0.1", own).prepared(given, -1, -1)
        np.testing.assert_allclose(found.values / (factor or 1), expected, rtol=1e-5)


def test_rows_are_clipped_and_what_is_not_finite_stays():
    worker = made("topk:0.1", SGD(global_clipnorm=1.0))
    rows = Rows(0, 30, np.array([2, 4]), np.ones((2, 30), np.float32))
    (found,) = worker.prepared([rows, Dense(KERNEL, np.zeros(10))], -1, -1)
    assert math.isclose(np.linalg.norm(found.values), 1.0, rel_tol=1e-6)
    assert np.flatnonzero(found.values).tolist() == [*range(60, 90), *range(120, 150)]
    broken = np.ones(LAYOUT.size, np.float32)
    broken[1205] = np.inf
    (found,) = worker.prepared([Dense(0, broken)], -1, -1)
    assert np.array_equal(found.values, broken)


def test_nothing_is_copied_where_nothing_is_clipped():
    given = [Dense(0, np.ones(LAYOUT.size, np.float32))]
    assert made("topk:0.1", SGD()).prepared(given, -1, -1) is given


def densities(text, steps, over=lambda epoch, number: math.nan):
    worker = made(text, SGD(0.1, 0.9), over=over)
    found = []
    for step in range(steps):
        worker.prepared([], 3, step)
        found.append(round(worker.compressor.density, 4))
        worker.compressor.steps += 1
    return found


def test_the_warm_up_goes_by_steps_or_by_epochs():
    stages = [round(0.001 ** (s / 5), 4) for s in (1, 2, 3, 4, 5)]
    found = densities("dgc:0.001,warmup=4steps", 6)
    assert found == [*stages, stages[-1]]
    found = densities("dgc:0.001", 6, over=lambda epoch, number: float(number))
    assert found == [*stages, stages[-1]]
    assert densities("dgc:0.001,warmup=0", 2) == [0.001, 0.001]


def test_a_warm_up_of_epochs_needs_some():
    with pytest.raises(ValueError, match=r"needs a fit\. .*warmup=500steps\."):
        densities("dgc:0.001", 1)


class Leases:
    """Gives each batch of an epoch."""

    def __init__(self):
        self._number = 0

    def call_all(self, messages, into):
        (ask,) = messages.values()
        number = self._number if self._number < ask.parts else -1
        self._number = 0 if number < 0 else number + 1
        return {0: Message(Kind.LEASE, 0, number=number)}


def test_epochs_are_counted_over_fits():
    epochs, found = Epochs(Leases(), 0, 1), []
    for skipped in (0, 2):  # as where a run is resumed
        epochs.begin_fit()
        epochs.skip(skipped)
        for _ in range(2):
            epoch = epochs.begin()
            found += [epochs.over(epoch, n) for n in epochs.leases(epoch, 4)]
    quarters = [0, 0.25, 0.5, 0.75]
    assert found == [first + q for first in (0, 1, 4, 5) for q in quarters]
    assert epochs.over(EpochId(2, 3).pack(), -1) == 5  # a stream
    assert math.isnan(epochs.over(-1, 3))


REFUSALS = {
    "adam": ("dgc:0.1", Adam, "Received: Adam. Write topk:0.1."),
    "own step": ("dgc:0.1", OwnStep, "Received: OwnStep. Write topk:0.1."),
    "values": ("topk:0.1", lambda: SGD(clipvalue=1.0), "clipvalue=1"),
    "momentum of a part": (
        "dgc:0.1",
        lambda: SGD(gradient_accumulation_steps=4),
        "gradient_accumulation_steps=4 of SGD. Leave it out, or use topk:0.1.",
    ),
    "clipping of a part": (
        "topk:0.1",
        lambda: Adam(clipnorm=1.0, gradient_accumulation_steps=2),
        "gradient_accumulation_steps=2 of Adam. Leave it out, or use powersgd.",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_compressed_so_is_refused(case):
    text, make, expected = REFUSALS[case]
    with pytest.raises(ValueError, match=r"\. Received: ") as caught:
        check(Specification.parse(text), make(), "float32")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["dgc:0.1", "sign", "powersgd:2"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_in_a_narrow_type_are_refused(text, dtype):
    with pytest.raises(ValueError, match=f"Received: variables of {dtype}"):
        check(Specification.parse(text), SGD(), dtype)
    check(Specification.parse("topk:0.1"), SGD(), dtype)
    check(Specification.parse(text), SGD(), "float64")


def test_what_can_be_is_not_refused():
    check(
        Specification.parse("topk:0.1"), Adam(gradient_accumulation_steps=2), "float32"
    )
    check(Specification.parse("sign"), Adam(clipnorm=1.0), "float32")
    check(Specification.parse("dgc:0.1"), SGD(0.1, 0.9, weight_decay=0.1), "float32")
