"""The state of a binding: what the wrapped methods of Keras and TensorFlow remember.

One object holds it, that of the process's binding (``binding.context``). What is true
only while a block runs is a :class:`Nested` value: outside of all blocks it is what it
was in the beginning. What is known of an object of the user's is kept by that object,
weakly: it goes with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import field
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from fdtcore.keras_types import DataAdapter, Optimizer, Variable

if TYPE_CHECKING:
    from fdtcore.engine import Collectives
    from fdtcore.glue.file_caches import Drafts
    from fdtcore.glue.fit_run import FitRun
    from fdtcore.glue.loop_run import Loops
    from fdtcore.glue.made_variables import MadeVariables
    from fdtcore.glue.step import Record, Step

T = TypeVar("T")


class Nested(Generic[T]):
    """A value that blocks give while they run; that of the innermost one counts.

    Threads that run blocks at the same time leave it as it was when all have ended.

    Args:
        outside: The value while no block runs.
    """

    def __init__(self, outside: T):
        self._values = [outside]

    @property
    def now(self) -> T:
        """The value."""
        return self._values[-1]

    @contextlib.contextmanager
    def given(self, value: T) -> Iterator[None]:
        """Gives it another value while the block runs."""
        self._values.append(value)
        try:
            yield
        finally:
            self._values.pop()


@dataclasses.dataclass
class Readers:
    """Threads that read data ahead, and trials that they are kept still for."""

    # Guards the counts, and is told of each change.
    changed: threading.Condition = field(default_factory=threading.Condition)
    num_reading: int = 0  # threads that are inside the program's code; never negative
    num_trials: int = 0  # trials under way; while there is one no thread goes in


def _nothing() -> Nested[Any]:
    return Nested(None)


def _false() -> Nested[bool]:
    return Nested(False)


@dataclasses.dataclass
class Context:
    """What is under way in this process, and what was detected so far."""

    # Keys of dictionaries are objects of Keras or TensorFlow.

    # --- Steps of optimizers ---------------------------------------------------------

    # Optimizer whose ``apply`` is running, the outermost one: an inner one's is no step
    # of its own.
    stepping: Nested[Optimizer] = field(default_factory=_nothing)
    # Receives ``(optimizer, gradients, variables)`` of each call that is recorded and
    # not applied; None while gradients are applied.
    recorded: Nested[list[tuple[Any, list[Any], Any]] | None] = field(
        default_factory=_nothing
    )
    # Optimizer -> its steps so far, eager ones and traced ones; for messages.
    step_counts: WeakKeyDictionary[Any, int] = field(default_factory=WeakKeyDictionary)
    # Optimizers that a framework has made for itself; their steps are nobody else's.
    left_alone: WeakSet[Any] = field(default_factory=WeakSet)

    # --- Training and test steps -----------------------------------------------------

    # The step of a model that is being traced or run, the innermost one.
    step: Nested[Step | None] = field(default_factory=_nothing)
    # Receives what the step that is watched makes of its batch.
    record: Nested[Record | None] = field(default_factory=_nothing)
    # Whether callbacks of the ``fit`` that runs read the logs of each batch, which are
    # then those of the whole batch.
    has_whole_logs: Nested[bool] = field(default_factory=_false)
    # Samples of the last step on this rank, int32 scalar; None before the first one.
    # Values that a step returns as they are are weighed by it.
    step_samples: Variable = None
    # Samples of the batch that a hand-written loop took last, on this rank and on all,
    # int32 [2]; None until a data set is iterated in parts.
    loop_samples: Variable = None

    # The ``fit`` of which snapshots are taken, the outermost one.
    fit_run: Nested[FitRun | None] = field(default_factory=_nothing)
    # The loops by hand of which snapshots are taken; None where none are.
    loops: Loops | None = None
    # The variables of Keras that the process has made; None where none are taken.
    made_variables: MadeVariables | None = None

    # --- What a batch's values are of those of its parts; see ``combining`` ----------

    # Loss that is not of samples -> its kind.
    loss_kinds: WeakKeyDictionary[Any, str] = field(default_factory=WeakKeyDictionary)
    # Whether the loss that is called now is scaled as a whole, not by its reduction.
    is_loss_scaled: Nested[bool] = field(default_factory=_false)
    # ``Mean`` or ``Sum`` that is given one value a batch -> the kind of that value.
    tracker_kinds: WeakKeyDictionary[Any, str] = field(
        default_factory=WeakKeyDictionary
    )
    # Model -> the kinds of the values that its step returns, by their names.
    log_kinds: WeakKeyDictionary[Any, dict[str, str]] = field(
        default_factory=WeakKeyDictionary
    )
    # Metric of the user's own -> whether each rule fits each of its variables so far,
    # bool [variables, rules]; a rule that does not fit never fits again.
    metric_fits: WeakKeyDictionary[Any, Variable] = field(
        default_factory=WeakKeyDictionary
    )
    # Metric of the user's own -> the rule of each variable, where nothing is open any
    # more; the same on all ranks.
    metric_rules: WeakKeyDictionary[Any, list[str]] = field(
        default_factory=WeakKeyDictionary
    )

    # --- Data ------------------------------------------------------------------------

    # What becomes of the adapters that Keras makes of data; None: they stay.
    adapt: Nested[Callable[[DataAdapter], DataAdapter] | None] = field(
        default_factory=_nothing
    )
    # Data sets that hold parts already, and are not split again.
    parts: WeakSet[Any] = field(default_factory=WeakSet)
    # Python code of the program that reads data ahead.
    readers: Readers = field(default_factory=Readers)

    # --- Files -----------------------------------------------------------------------

    # Whether what is saved or loaded concerns this rank only: others do not call it.
    is_saving_alone: Nested[bool] = field(default_factory=_false)
    # Whether a call that writes is under way; those inside it are parts of it.
    is_writing: Nested[bool] = field(default_factory=_false)
    # Caches that rank 0 is making; empty on other ranks.
    drafts: list[Drafts] = field(default_factory=list)

    # --- Joint calls -----------------------------------------------------------------

    # ``tf.function`` in which a joint operation was traced -> its collectives.
    joint: WeakKeyDictionary[Any, Collectives] = field(
        default_factory=WeakKeyDictionary
    )
    # The same -> how often it was run; for messages, alike on all ranks.
    run_counts: WeakKeyDictionary[Any, int] = field(default_factory=WeakKeyDictionary)
    # ``tf.function`` that XLA was to compile -> what runs in its place.
    uncompiled: WeakKeyDictionary[Any, Any] = field(default_factory=WeakKeyDictionary)
    # The outermost ``tf.function`` that is being traced or run, and what to end with
    # it; None between them.
    running: Nested[tuple[Any, ExitStack] | None] = field(default_factory=_nothing)
    # Whether this rank computes what the others do not: joint operations are refused.
    is_computing_alone: Nested[bool] = field(default_factory=_false)
