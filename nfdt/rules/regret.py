"""The regret bounds of DSP, and its step size.

Pure arithmetic, for convex losses whose gradients are bounded. The regret of C steps of
each of P workers is the sum of their losses beyond those of the best fixed parameters::

    R = sum_c f_c(x_c) - min_x sum_c f_c(x)

Divided by the number of steps it goes to zero, so that the mean loss comes to the
optimum. Letters: F the largest distance between two parameters that come up, L the
largest norm of a gradient, P the workers, C the steps, s and w the thresholds of
:class:`nfdt.protocol.controllers.DynamicSynchronous`, alpha the performance factor.

Source: Zhang, Tu et al., "Dynamic Synchronous Parallel", Sensors 2017, 17(10):2172,
read in the form of the theorem on SSP that it extends (Ho et al., NIPS 2013, theorem
1), to which the first bound comes at alpha = 1.
"""

from __future__ import annotations

import math


def step_size(step: int, sigma: float) -> float:
    """Returns the rate at a step::

        eta_c = sigma / sqrt(c)

    Args:
        step: c, counted from 1.
        sigma: As :func:`step_scale` has it.
    """
    return sigma / math.sqrt(step)


def step_scale(
    diameter: float, lipschitz: float, *, stale: int, factor: float, workers: int
) -> float:
    """Returns the scale of the rates that the bounds are proved for::

        sigma = F / (L sqrt(2 (s alpha + 1) P))

    Args:
        diameter: Bound F on the distance of two parameter vectors.
        lipschitz: Lipschitz constant L of the losses.
        stale: Lead s at which a barrier is called, in steps.
        factor: Performance factor alpha >= 1: fastest speed over slowest.
        workers: Number of workers, P.
    """
    return diameter / (lipschitz * math.sqrt(2 * (stale * factor + 1) * workers))


def regret_where_speeds_differ(
    diameter: float,
    lipschitz: float,
    *,
    stale: int,
    factor: float,
    workers: int,
    steps: int,
) -> float:
    """Returns the bound where the stale threshold calls the barriers::

        R <= 4 F L sqrt(2 (s alpha + 1) P C)

    Args:
        diameter: Bound F on the distance of two parameter vectors.
        lipschitz: Lipschitz constant L of the losses.
        stale: Lead s at which a barrier is called, in steps.
        factor: Performance factor alpha >= 1: fastest speed over slowest.
        workers: Number of workers, P.
        steps: Number of steps, C.
    """
    root = math.sqrt(2 * (stale * factor + 1) * workers * steps)
    return 4 * diameter * lipschitz * root


def regret_at_equal_speeds(
    diameter: float, lipschitz: float, *, weak: int, workers: int, steps: int
) -> float:
    """Returns the bound where the weak threshold calls the barriers, alpha about 1::

        R <= 4 F L sqrt(2 (w + 1) P C)

    Args:
        diameter: Bound F on the distance of two parameter vectors.
        lipschitz: Lipschitz constant L of the losses.
        weak: Steps w of the slowest worker at which a barrier is called.
        workers: Number of workers, P.
        steps: Number of steps, C.
    """
    return regret_where_speeds_differ(
        diameter, lipschitz, stale=weak, factor=1.0, workers=workers, steps=steps
    )
