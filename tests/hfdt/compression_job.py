"""Run by ``hfdt run`` on two ranks: fits with compressed gradients, beside NumPy.

Its arguments are the names of functions here that are called, one after the other.
Prints nothing and exits 0 when all hold; an assertion names what does not.
"""

from __future__ import annotations

import math
import sys

import keras
import numpy as np
import tensorflow as tf

import hfdt
from hfdt import runtime
from hfdt.options import Options

hfdt.init()
RANK, SIZE = hfdt.rank(), hfdt.size()
ENGINE = runtime.engine()
INPUTS, OUTPUTS, BATCH, BATCHES, EPOCHS = 30, 40, 8, 3, 8
RATE, MOMENTUM = 0.5, 0.9
RNG = np.random.default_rng(0)
X = RNG.normal(size=(BATCH * BATCHES, INPUTS)).astype("float32")
Y = RNG.normal(size=(BATCH * BATCHES, OUTPUTS)).astype("float32")
KERNEL = RNG.normal(size=(INPUTS, OUTPUTS)).astype("float32") / 6


def trained(compression, optimizer, nonfinite="raise", y=Y):
    """Fits a linear model as a user's script would; returns kernel and bias."""
    ENGINE.strategy.compression = None
    ENGINE.strategy.choose(Options(compression=compression, nonfinite=nonfinite))
    model = keras.Sequential([keras.Input((INPUTS,)), keras.layers.Dense(OUTPUTS)])
    model.compile(optimizer, "mse")
    model.set_weights([KERNEL, np.zeros(OUTPUTS, "float32")])
    model.fit(X, y, BATCH, epochs=EPOCHS, shuffle=False, verbose=0)
    return model.get_weights()


def sent_part():
    """Returns the part of dense gradients' bytes that the last fit has sent."""
    (saved,) = ENGINE.strategy.compression.saved
    return saved.sent_bytes / saved.dense_bytes


class Reference:
    """The same by the papers, all ranks in one place, in float64.

    The kernel is compressed; the bias is the optimizer's own.
    """

    def __init__(self, density, *, momentum=MOMENTUM, nesterov=False, deep=True):
        self.density, self.momentum = density, momentum
        self.nesterov, self.deep = nesterov, deep
        self.global_limit = self.limit = math.inf
        self.accumulated = 1

    def gradients(self, kernel, bias, step):
        """Returns by rank its addends to the mean gradient."""
        start = step % BATCHES * BATCH
        found, part = [], BATCH // SIZE
        for rank in range(SIZE):
            rows = slice(start + rank * part, start + (rank + 1) * part)
            x, y = X[rows].astype(float), Y[rows].astype(float)
            error = 2 * (x @ kernel + bias - y) / (BATCH * OUTPUTS)
            found.append([x.T @ error, error.sum(0)])
        return found

    def clipped(self, pair):
        limit = self.global_limit / math.sqrt(SIZE)
        norm = math.sqrt(sum((g**2).sum() for g in pair))
        pair = [g * min(1, limit / norm) for g in pair]
        limit = self.limit / math.sqrt(SIZE)
        return [g * min(1, limit / math.sqrt((g**2).sum())) for g in pair]

    def run(self):
        kernel, bias = KERNEL.astype(float), np.zeros(OUTPUTS)
        shape = (SIZE, INPUTS * OUTPUTS)
        velocity, unsent = np.zeros(shape), np.zeros(shape)
        momenta = [np.zeros(INPUTS * OUTPUTS), np.zeros(OUTPUTS)]
        held = [[0.0, 0.0] for _ in range(SIZE)]
        for step in range(BATCHES * EPOCHS):
            for own, new in zip(held, self.gradients(kernel, bias, step)):
                own[:] = [h + g / self.accumulated for h, g in zip(own, new)]
            if (step + 1) % self.accumulated:
                continue
            pairs = [self.clipped(own) for own in held]
            held = [[0.0, 0.0] for _ in range(SIZE)]
            density = self.density(step // BATCHES)
            count = math.ceil(density * INPUTS * OUTPUTS)
            total = np.zeros(INPUTS * OUTPUTS)
            for rank, (of_kernel, _) in enumerate(pairs):
                g, u, v = of_kernel.reshape(-1), velocity[rank], unsent[rank]
                if self.deep:
                    u[:] = self.momentum * u + g
                    v += g + self.momentum * u if self.nesterov else u
                else:
                    v += g
                sent = np.argsort(-np.abs(v), kind="stable")[:count]
                total[sent] += v[sent]
                v[sent] = u[sent] = 0
            step_of = [total, sum(of_bias for _, of_bias in pairs)]
            for i, g in enumerate(step_of):
                if i == 0 and self.deep:
                    continue  # its momentum was before the exchange
                momenta[i] = self.momentum * momenta[i] + g
                step_of[i] = g + self.momentum * momenta[i]
                if not self.nesterov:
                    step_of[i] = momenta[i]
            kernel -= RATE * step_of[0].reshape(kernel.shape)
            bias -= RATE * step_of[1]
        return kernel, bias


def sgd(**more):
    return keras.optimizers.SGD(RATE, MOMENTUM, **more)


def close(found, reference):
    for ours, theirs in zip(found, reference.run(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    moved = np.abs(found[0] - KERNEL).max()
    assert moved > 0.05, moved  # else nothing was compared


def five_percent(epoch):
    del epoch
    return 0.05


def deep_gradient():
    close(trained("dgc:0.05,warmup=0", sgd()), Reference(five_percent))


def nesterov():
    found = trained("dgc:0.05,warmup=0", sgd(nesterov=True))
    close(found, Reference(five_percent, nesterov=True))


def warm_up():
    stages = [min(stage, 6) for stage in range(1, EPOCHS + 1)]
    densities = [0.02 ** (stage / 6) for stage in stages]
    close(trained("dgc:0.02,warmup=5", sgd()), Reference(lambda e: densities[e]))


def clipping():
    # Of the norms of this rank's addends, 0.14 to 0.3 of the kernel, some are cut.
    for name in ("global_clipnorm", "clipnorm"):
        reference = Reference(five_percent)
        attribute = "global_limit" if name == "global_clipnorm" else "limit"
        setattr(reference, attribute, 0.25)
        found = trained("dgc:0.05,warmup=0", sgd(**{name: 0.25}))
        close(found, reference)
        free = Reference(five_percent).run()[0]
        assert np.abs(found[0] - free).max() > 1e-3, "nothing was clipped"


def accumulation():
    reference = Reference(five_percent)
    reference.accumulated = 2
    found = trained("dgc:0.05,warmup=0", sgd(gradient_accumulation_steps=2))
    close(found, reference)


def a_loop_by_hand():
    """Its gradients are weighted when they are applied, not by the loss."""
    model = keras.Sequential([keras.Input((INPUTS,)), keras.layers.Dense(OUTPUTS)])
    model.set_weights([KERNEL, np.zeros(OUTPUTS, "float32")])
    optimizer = sgd()
    hfdt.distribute(model, compression="dgc:0.05,warmup=0")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH).repeat(EPOCHS)
    for x, y in hfdt.shard(data):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
    close(model.get_weights(), Reference(five_percent))


def largest_elements():
    close(trained("topk:0.05", sgd()), Reference(five_percent, deep=False))
    # Half of the steps are dense, to be compared; the others send 60 of 1200 elements
    # and their indices to the other rank.
    assert sent_part() == (1 + 2 * 60 / 1200) / 2


def what_is_cheaper_sent_whole_is():
    for compression in ("topk:0.5", "topk:0.9"):
        trained(compression, sgd())
        assert sent_part() == 1, compression


def everything_is_momentum_sgd():
    plain = trained("none", sgd())
    for compression in ("dgc:1,warmup=0", "topk:1", "powersgd:30"):
        for ours, theirs in zip(trained(compression, sgd()), plain, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def loss_scale_does_not_matter():
    def scaled(scale, growth=2000):
        return keras.optimizers.LossScaleOptimizer(
            sgd(), initial_scale=scale, dynamic_growth_steps=growth
        )

    plain = trained("dgc:0.05,warmup=0", sgd())
    for optimizer in (scaled(1.0), scaled(2.0**12), scaled(2.0, growth=2)):
        found = trained("dgc:0.05,warmup=0", optimizer)
        for ours, theirs in zip(found, plain, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def infinity_leaves_no_trace():
    """A step with an infinite gradient on one rank is left out, by all."""
    bad = Y.copy()
    bad[BATCH - 1] = np.inf  # the first batch's, on the last rank
    for compression in ("dgc:0.05,warmup=0", "topk:0.05", "sign"):
        found = trained(compression, sgd(), nonfinite="skip", y=bad)
        assert all(np.isfinite(w).all() for w in found), compression
        assert np.abs(found[0] - KERNEL).max() > 0.05


def all_ranks_agree():
    for compression in ("dgc:0.01", "sign", "powersgd:2,start=2", "topk:0.01"):
        kernel = trained(compression, sgd())[0]
        total = hfdt.allreduce(kernel, op="sum").numpy()
        np.testing.assert_array_equal(total, SIZE * kernel, compression)


for name in sys.argv[1:]:
    globals()[name]()
