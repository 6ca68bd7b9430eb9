"""The times of a step: computing, waiting, exchanging, wrapper."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fdtcore import output
from fdtcore.glue.steps import PartStep
from fdtcore.keras_types import TensorFlowIterator
from hfdt.collectives import HorovodCollectives
from hfdt.operations import Operation


class StepTimes:
    """The times of the steps of one ``fit``, said at its end.

    Of a joint operation the rank that comes last waits for nobody. With t_ro the time
    of operation o on rank r ::

        exchanging = sum_o min_r t_ro,   waiting_r = sum_o t_ro - exchanging

    The first call of a step counts for nothing: it is traced in it.

    Args:
        collectives: Those of the ranks.
    """

    def __init__(self, collectives: HorovodCollectives):
        self._collectives = collectives
        self._is_in_step = False
        self._begin()
        collectives.observe(self._note)

    def _begin(self) -> None:
        self._joint_s: list[float] = []  # of each operation in the steps
        self._num_steps = 0
        self._step_s = self._call_s = 0.0  # with what the wrapper does, and without
        self._begun_s: float | None = None  # when the first call had ended

    def _note(self, operation: Operation) -> None:
        if self._is_in_step:
            self._joint_s.append(operation.took_s)

    @contextlib.contextmanager
    def of_fit(self) -> Iterator[None]:
        """Takes the times of the block, a ``fit``, and says them at its end."""
        self._begin()
        yield
        found = self._lines()  # of all ranks
        if self._collectives.process.rank == 0:
            for line in found:
                output.shout(line)

    @contextlib.contextmanager
    def of_call(self) -> Iterator[None]:
        """Takes the time of the block, a call of what Keras makes of the step."""
        begun_s = time.perf_counter()
        self._is_in_step = True
        try:
            yield
        finally:
            self._is_in_step = False
            self._call_s += time.perf_counter() - begun_s

    def ended(self, step_s: float, num_steps: int) -> None:
        """Counts what one call has done.

        Args:
            step_s: Its time, with what the wrapper did.
            num_steps: Steps in it.
        """
        if self._begun_s is None:
            self._begin()
            self._begun_s = time.perf_counter()
        else:
            self._num_steps += num_steps
            self._step_s += step_s

    def _lines(self) -> list[str]:
        if self._begun_s is None or not self._num_steps:
            return ["stats need a fit of at least two steps."]
        fit_s = time.perf_counter() - self._begun_s
        length = np.array([len(self._joint_s)])
        shortest = min(int(n[0]) for (n,) in self._collectives.allgather([length]))
        joint_s = np.array(self._joint_s[:shortest])
        own = np.array([fit_s, self._step_s, self._call_s])
        found = self._collectives.allgather([own, joint_s])
        return lines(
            np.stack([times_s for times_s, _ in found]),
            np.stack([joint_s for _, joint_s in found]),
            self._num_steps,
        )


class TimedStep(PartStep):
    """A step on parts that takes its own times.

    Args:
        times: Where they are added up.
        *args: As for ``PartStep``.
        **kwargs: As for ``PartStep``.
    """

    def __init__(self, times: StepTimes, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._times = times
        self._begun_s = 0.0

    def function(self, inner: Callable) -> Callable:
        """Returns what Keras's loop calls, timed."""

        def call(iterator: TensorFlowIterator) -> Any:
            with self._times.of_call():
                return inner(iterator)

        return call

    def before(self, kind: str, iterator: TensorFlowIterator) -> Any:
        """Begins the time of a call."""
        self._begun_s = time.perf_counter()
        return super().before(kind, iterator)

    def after(self) -> None:
        """Ends the time of a call."""
        super().after()
        step_s = time.perf_counter() - self._begun_s
        self._times.ended(step_s, self.model.steps_per_execution)


def lines(times_s: np.ndarray, joint_s: np.ndarray, num_steps: int) -> list[str]:
    """Says where the time of a step goes.

    Args:
        times_s: [ranks, 3], for all steps together: the fit, its steps, and what of
            these is not the wrapper's, in seconds.
        joint_s: [ranks, operations], in seconds.
        num_steps: Steps of the fit.
    """
    fit, step, call = (times_s * 1000 / num_steps).T
    joint = joint_s.sum(1) * 1000 / num_steps
    exchanging = joint_s.min(0).sum() * 1000 / num_steps
    return [
        f"steps       {num_steps} of {fit.mean():.2f} ms, on {len(fit)} ranks",
        f"computing   {_spread(call - joint)}, with taking the batch",
        f"waiting     {_spread(joint - exchanging)}, for the last rank",
        f"exchanging  {exchanging:.2f} ms",
        f"wrapper     {_spread(step - call)}",
        f"between     {_spread(fit - step)}: Keras's loop, callbacks, ends of epochs",
    ]


def _spread(times_ms: np.ndarray) -> str:
    low, high = times_ms.min(), times_ms.max()
    return f"{times_ms.mean():.2f} ms ({low:.2f} to {high:.2f})"
