"""A short, observed run of a script: what it trains, and the result.

Each ``fit`` ends after some batches, each loop by hand after some steps, and the script
with it. What was trained until then is written down, to be compared with another run.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fdtcore.examination import observations
from fdtcore.examination.observations import Observation
from fdtcore.glue import keras_internals
from fdtcore.keras_types import (
    Callbacks,
    Logs,
    Model,
    Optimizer,
    TensorFlowFunction,
    Variable,
)
from fdtcore.process import Process

BATCHES = 12  # of a ``fit``, or steps of a loop
TESTED_BATCHES = 4
FITS = 3  # the script ends before it begins another one
_SAMPLED = 256  # values of each variable that are written down


class Enough(keras.callbacks.Callback):
    """Ends a ``fit``, ``evaluate`` or ``predict`` after some batches.

    It looks at the beginning of a batch: whoever looks at an end reads its logs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._trained = 0

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        del batch, logs
        self._trained += 1
        if self._trained >= BATCHES:
            self.model.stop_training = True

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        del logs
        if batch + 1 >= TESTED_BATCHES:
            self.model.stop_evaluating = True

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        del logs
        if batch + 1 >= TESTED_BATCHES:
            self.model.stop_predicting = True


class Examination:
    """What one process of a script does.

    Args:
        folder: Where it is written down.
        process: This process: its rank, the number of ranks, its host.
    """

    def __init__(self, folder: str, process: Process):
        self._path = os.path.join(folder, observations.file_name(process.rank))
        self._found: list[Observation] = []
        self._fitting = 0
        self._optimizers: dict[int, Any] = {}  # that have stepped outside of ``fit``
        self._steps = 0  # of loops, so far
        self._where = ""  # the line of the loop

    def install(self) -> None:
        """Stands in front of whatever trains, outermost."""
        trainer = keras_internals.Trainer
        trainer.fit = self._limited(trainer.fit, "fit")
        trainer.evaluate = self._limited(trainer.evaluate, "evaluate")
        trainer.predict = self._limited(trainer.predict, "predict")
        optimizer = keras_internals.BaseOptimizer
        optimizer.apply = self._noticed(optimizer.apply)
        function = keras_internals.Function
        function.__call__ = self._counted(function.__call__)
        atexit.register(self._write_loop)

    def _limited(self, inner: Callable, name: str) -> Callable:
        signature = inspect.signature(inner)

        @functools.wraps(inner)
        def method(model: Model, *args: Any, **kwargs: Any) -> Any:
            if self._fitting:
                return inner(model, *args, **kwargs)  # the validation of a fit
            if name == "fit" and len(self._found) >= FITS:
                raise SystemExit(0)
            call = signature.bind(model, *args, **kwargs)
            call.apply_defaults()
            call.arguments["callbacks"] = _with_enough(call.arguments["callbacks"])
            self._fitting += 1
            try:
                result = inner(*call.args, **call.kwargs)
            finally:
                self._fitting -= 1
            if name == "fit":
                what = f"fit {len(self._found) + 1} ({_line_of_script()})"
                self._note(what, result.history, model.variables, [model.optimizer])
                self._found[-1].layers.update(_layers(model))
                self._write()
            return result

        return method

    def _noticed(self, inner: Callable) -> Callable:
        @functools.wraps(inner)
        def apply(optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            result = inner(optimizer, *args, **kwargs)
            if not self._fitting:
                self._optimizers[id(optimizer)] = optimizer
                self._where = self._where or _line_of_script(outermost=True)
                if not _is_traced():
                    self._count()
            return result

        return apply

    def _counted(self, inner: Callable) -> Callable:
        @functools.wraps(inner)
        def call(function: TensorFlowFunction, *args: Any, **kwargs: Any) -> Any:
            result = inner(function, *args, **kwargs)
            if self._optimizers and not self._fitting and not _is_traced():
                self._count()
            return result

        return call

    def _count(self) -> None:
        """Ends the script when its loops have made enough steps."""
        built = [o for o in self._optimizers.values() if o.built]
        known = [keras_internals.call_count(one) for one in built]
        self._steps = max([int(np.asarray(steps)) for steps in known], default=0)
        if self._steps >= BATCHES:
            raise SystemExit(0)

    def _write_loop(self) -> None:
        """Writes what loops by hand have trained, when the script is over."""
        trained = {id(o): o for o in self._optimizers.values() if o.built}
        if trained and not any(self._is_of_a_fit(o) for o in trained.values()):
            held = [v for o in trained.values() for v in keras_internals.descended(o)]
            what = f"the loop on {self._where}"
            self._note(what, {}, held, list(trained.values()))
            self._write()

    def _is_of_a_fit(self, optimizer: Optimizer) -> bool:
        return any(optimizer.name in one.iterations for one in self._found)

    def _note(
        self,
        what: str,
        history: dict[str, Any],
        variables: Iterable[Variable],
        optimizers: list[Any],
    ) -> None:
        numbers = {
            name: [float(np.mean(np.asarray(value))) for value in values]
            for name, values in history.items()
        }
        self._found.append(
            Observation(
                what,
                numbers,
                {_path(v): _sampled(v) for v in variables if _is_float(v)},
                {o.name: int(np.asarray(o.iterations)) for o in optimizers if o},
                {},
            )
        )

    def _write(self) -> None:
        observations.write(self._path, self._found)


def install(folder: str) -> None:
    """Watches the script of this process, and writes to ``folder``."""
    Examination(folder, Process.from_environ(os.environ)).install()


def _with_enough(callbacks: Callbacks) -> Any:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(Enough())
        return callbacks
    given = [] if callbacks is None else callbacks
    return [*(given if isinstance(given, list | tuple) else [given]), Enough()]


def _layers(model: Model) -> dict[str, list[str]]:
    """The layers whose numbers depend on how a batch is cut, by what they do."""
    layers = keras_internals.layers_of(model)
    # A layer that is handed on in a wrapper is in its list as well.
    return {
        "draws": sorted(
            {one.name for one in layers if keras_internals.seed_generators(one)}
        ),
        "normalizes": sorted(
            {o.name for o in layers if isinstance(o, keras.layers.BatchNormalization)}
        ),
    }


def _line_of_script(*, outermost: bool = False) -> str:
    """The line of the script that has called this: the next one, or the outermost."""
    # What TensorFlow has rewritten says that it is the script's, but has no lines.
    script = getattr(sys.modules["__main__"], "__file__", None)
    frame: FrameType | None = sys._getframe(1)
    found = ""
    while frame is not None:
        if frame.f_code.co_filename == script and (outermost or not found):
            found = f"{os.path.basename(script)}:{frame.f_lineno}"
        frame = frame.f_back
    return found


def _is_traced() -> bool:
    return not tf.executing_eagerly()


def _is_float(variable: Variable) -> bool:
    return "float" in str(variable.dtype)


def _path(variable: Variable) -> str:
    return str(getattr(variable, "path", variable.name))


def _sampled(variable: Variable) -> list[float]:
    values = np.asarray(variable, "float64").reshape(-1)
    step = max(1, values.size // _SAMPLED)
    return [float(value) for value in values[::step]]
