"""DSP's step size and bounds: by hand, in their limits, and against a run."""

import itertools

import numpy as np
import pytest

from nfdt.protocol.controllers import DynamicSynchronous
from nfdt.rules import regret
from tests.nfdt.rules import server
from tests.nfdt.virtual_time import Workers

ABOUT = {"stale": 3, "factor": 2.5, "workers": 4}


def test_by_hand():
    sigma = regret.step_scale(2.0, 5.0, stale=3, factor=5.0, workers=2)
    assert sigma == 2.0 / (5.0 * 8.0)  # the root of 2 (3 * 5 + 1) 2 is 8
    assert regret.step_size(4, sigma) == sigma / 2
    bound = regret.regret_where_speeds_differ(
        2.0, 5.0, stale=3, factor=5.0, workers=2, steps=9
    )
    assert bound == 4 * 2.0 * 5.0 * 8.0 * 3.0
    equal = regret.regret_at_equal_speeds(1.0, 1.0, weak=1, workers=2, steps=2)
    assert equal == 4 * 4.0


def test_the_mean_regret_goes_to_zero():
    bounds = [
        regret.regret_where_speeds_differ(1.0, 1.0, steps=steps, **ABOUT) / steps
        for steps in (10, 1_000, 100_000)
    ]
    assert bounds[1] == pytest.approx(bounds[0] / 10)
    assert bounds[2] == pytest.approx(bounds[0] / 100)


def test_further_apart_or_later_is_worse():
    def bound(stale, factor):
        return regret.regret_where_speeds_differ(
            1.0, 1.0, stale=stale, factor=factor, workers=4, steps=100
        )

    assert bound(3, 1.0) < bound(3, 2.0) < bound(4, 2.0)
    ssp = 4 * np.sqrt(2 * (3 + 1) * 4 * 100)  # of Ho et al., which has no alpha
    assert bound(3, 1.0) == pytest.approx(ssp)


def test_a_run_stays_within_its_bound():
    """Distances on a line: f(x) = |x - 1|, from x = 0; L is 1, F is 2."""
    step_s = (1.0, 2.0)
    made = server("asgd", np.zeros(1), 2, DynamicSynchronous(3, 2, fixed=True))
    made.learning_rate = 1.0  # what is pushed is the way that a worker went
    steps = 200
    sigma = regret.step_scale(2.0, 1.0, stale=3, factor=2.0, workers=2)
    losses, own = [], {0: np.zeros(1), 1: np.zeros(1)}
    counts = {0: itertools.count(1), 1: itertools.count(1)}

    def train(worker):
        rate = regret.step_size(next(counts[worker]), sigma)
        losses.append(abs(own[worker][0] - 1.0))
        own[worker] -= rate * np.sign(own[worker] - 1.0)
        return b""

    def way(worker, params):
        return params - own[worker]

    class Fresh(Workers):
        def _take(self, answers, now_s):
            super()._take(answers, now_s)
            for answer in answers:
                if len(answer.payload):
                    own[answer.worker] = answer.payload.copy()

    Fresh(made, lambda w: step_s[w], steps, gradient=way, payload=train).run()
    assert len(losses) == 2 * steps
    bound = regret.regret_where_speeds_differ(
        2.0, 1.0, stale=3, factor=2.0, workers=2, steps=steps
    )
    assert sum(losses) < bound
    assert abs(made.params[0] - 1.0) < 0.1
