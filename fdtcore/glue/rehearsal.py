"""The trial of the first batch: how a step's values follow from those of parts.

Ranks add up what they compute of their parts, which is right for means over samples.
Whether a loss or a step of the user's own is one cannot be read from it. So each rank
takes its part of the first batch by itself, and again in two pieces, and compares
(:mod:`fdtcore.glue.combining`). What it changes is undone. Ranks then agree: a mean
needs nothing, a sum is scaled, a loss that is neither is computed on the rows of all
ranks, and a step that is neither is named.

Random layers and BatchNormalization differ between parts for a reason that is known:
they rest meanwhile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from fdtcore import output
from fdtcore.glue import (
    batches,
    binding,
    calls,
    combining,
    generators,
    keras_internals,
    losses,
    marks,
    optimizer,
    readers,
    state,
    trackers,
)
from fdtcore.glue.step import (
    PartCollectives,
    Record,
    SharedStep,
    under_way,
    watched,
)
from fdtcore.keras_types import (
    Logs,
    Loss,
    Model,
    Structure,
    Tensor,
    TensorFlowIterator,
    Variable,
)

_RANDOM = (
    keras.layers.Dropout,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)


def is_sum(model: Model, name: str) -> bool:
    """Whether what a step returns under a name is a sum over the samples."""
    return binding.context().log_kinds.get(model, {}).get(name) == combining.SUM


@dataclasses.dataclass
class ReductionFinding:
    """What one rank has found of one value.

    Args:
        kind: How the value depends on its samples: a constant of ``combining``, such as
            ``MEAN``.
        whole: The value of the rank's part of the batch.
        parts: The mean over the two pieces of it.
    """

    kind: str = combining.UNKNOWN
    whole: float = float("nan")
    parts: float = float("nan")


def on_first_batch(
    collectives: PartCollectives, model: Model, kind: str, iterator: TensorFlowIterator
) -> tuple[dict[str, list[str]], Any]:
    """Tries a step on the batch that comes next.

    Args:
        collectives: Those of the ranks, which share each batch.
        model: The user's Keras model.
        kind: Which step it is: ``"train"`` or ``"test"``.
        iterator: Yields the batches of this rank.

    Returns:
        What a :class:`~fdtcore.glue.step.SharedStep` is told, and an iterator for the
        call that was to take the batch.
    """
    if not _is_in_doubt(model, kind):
        return {}, iterator
    first = taken(model, iterator)
    if not first:
        return {}, iterator
    data = tree.map_structure(
        lambda leaf: None if isinstance(leaf, tf.experimental.Optional) else leaf,
        marks.unmarked(first[0])[1],
    )
    return _Rehearsal(collectives, model, kind, data).found(), again(first, iterator)


def _is_in_doubt(model: Model, kind: str) -> bool:
    """Whether something of the user's own makes values of a batch."""
    cls = type(model)
    if not _is_of_keras(model, kind) or cls.compute_loss not in _COMPUTE_LOSS:
        return True
    if any(_adds_losses(type(layer)) for layer in keras_internals.layers_of(model)):
        return True
    if not all(map(losses.is_of_samples, keras_internals.compiled_losses(model))):
        return True
    # Keras's losses take the mean over what is last, which is the batch here.
    outputs = getattr(model, "outputs", None) or ()
    return any(len(one.shape) < 2 for one in outputs)


_COMPUTE_LOSS = (
    keras_internals.BaseTrainer.compute_loss,
    keras_internals.Trainer.compute_loss,
)


def _is_of_keras(model: Model, kind: str) -> bool:
    name = f"{kind}_step"
    return getattr(type(model), name) is getattr(keras_internals.Trainer, name)


def _adds_losses(cls: type) -> bool:
    """Whether a layer of the user's own names ``add_loss``."""
    return any(
        "add_loss" in function.__code__.co_names
        for owner in cls.__mro__
        if not owner.__module__.startswith("keras.")
        for function in filter(inspect.isfunction, vars(owner).values())
    )


def taken(model: Model, iterator: TensorFlowIterator) -> list[Any]:
    """Takes what one call of the step's function would."""
    return list(itertools.islice(iterator, model.steps_per_execution))


def again(taken: list[Any], iterator: TensorFlowIterator) -> Iterator[Any]:
    """Yields what was taken, as the iterator would have."""
    if not isinstance(iterator, tf.data.Iterator):
        return iter(taken)
    # Of the same specification, so that the step is traced once.
    return iter(generators.from_generator(lambda: taken, iterator.element_spec))


class _Rehearsal:
    def __init__(
        self, collectives: PartCollectives, model: Model, kind: str, data: Structure
    ):
        self._collectives, self._process = collectives, collectives.process
        self.model, self.kind, self.data = model, kind, data
        self.count = int(batches.count(data))
        half = "float16" in str(model.compute_dtype)
        self.tolerance = 2e-2 if half else 1e-4

    def found(self) -> dict[str, list[str]]:
        """Returns what a step is told; losses and trackers are noted."""
        if not self.model.built:
            state.build(self.model, self.data)
        with readers.resting(), _undone(self.model), _resting(self.model):
            whole = self._alone(self._run, self.data) or Record()
            called = list({id(call[0]): call for call in whole.losses}.values())
            mine = [
                self._alone(self._of_loss, *call) or ReductionFinding()
                for call in called
            ]
            for (loss, *_), finding in zip(called, self._agreed(mine), strict=False):
                is_news = losses.note(loss, finding.kind)
                if is_news and finding.kind == combining.OTHER:
                    self._say(_LOSS.format(name=loss.name, values=_values(finding)))
            more = [
                ReductionFinding(
                    combining.OTHER if _has_more(whole) else combining.UNKNOWN
                )
            ]
            if self._agreed(more)[0].kind == combining.UNKNOWN:
                return {}
            return self._of_step(whole)

    def _of_step(self, whole: Record) -> dict[str, list[str]]:
        records = self._alone(self._in_pieces)
        names = ("scalars", "terms", "logs", "gradients")
        mine = {name: self._findings(name, whole, records) for name in names}
        told = {name: self._agreed(mine[name]) for name in names}
        for (tracker, _), finding in zip(whole.scalars, told["scalars"], strict=False):
            trackers.note(tracker, finding.kind)
        for (name, _), finding in zip(whole.logs, told["logs"], strict=False):
            binding.context().log_kinds.setdefault(self.model, {})[name] = finding.kind
        self._report(told)
        return {
            name: [finding.kind for finding in told[name]]
            for name in ("terms", "gradients")
        }

    def _report(self, told: dict[str, list[ReductionFinding]]) -> None:
        others = {
            name: [f for f in findings if f.kind == combining.OTHER]
            for name, findings in told.items()
        }
        step = f"{self.kind}_step of {self.model.name}"
        if others["gradients"]:
            seen = (others["scalars"] or others["gradients"])[0]
            self._say(
                _STEP.format(step=step, values=_values(seen), size=self._process.size)
            )
        elif others["terms"]:
            values = _values(others["terms"][0])
            self._say(_TERM.format(model=self.model.name, values=values))
        elif others["scalars"] and not _is_of_keras(self.model, self.kind):
            self._say(_SCALAR.format(step=step, values=_values(others["scalars"][0])))

    def _run(self, data: Structure) -> Record:
        """Makes the step once, without applying gradients."""
        with watched() as record, optimizer.recording() as applied:
            if _is_of_keras(self.model, self.kind):
                is_training = self.kind == "train"
                keras_internals.compute_loss(self.model, data, is_training=is_training)
            else:
                logs = getattr(self.model, f"{self.kind}_step")(data)
                record.logs = _numbers(logs)
        record.gradients = [_flat(gradients) for _, gradients, _ in applied]
        return record

    def _in_pieces(self) -> list[Record]:
        """Makes the step of both pieces, as two ranks would, and once more of all."""
        first, count = self._first(), self.count
        records = []
        for start, stop in ((0, first), (first, count), (0, count)):
            rows = [start, stop]
            data = tree.map_structure(lambda x, r=rows: batches.rows(x, *r), self.data)
            step = SharedStep(self._collectives, self.model, tf.constant(stop - start))
            step.is_share((stop - start) / count)
            with under_way(step):
                records.append(self._run(data))
        return records

    def _first(self) -> int:
        # Unequal pieces, or the sum of two means would be twice the mean.
        return (self.count + 2) // 3

    def _shares(self) -> list[float]:
        first = self._first() / self.count
        return [first, 1 - first]

    def _findings(
        self, name: str, whole: Record, records: list[Record] | None
    ) -> list[ReductionFinding]:
        values = _arrays(name, whole)
        made = [_arrays(name, record) for record in records or ()]
        if not made or any(len(other) != len(values) for other in made):
            return [ReductionFinding() for _ in values]
        return [
            self._finding([a, b], one, again)
            for one, a, b, again in zip(values, *made, strict=True)
        ]

    def _finding(
        self, parts: list[np.ndarray], whole: np.ndarray, again: np.ndarray
    ) -> ReductionFinding:
        shares = self._shares()
        kind = combining.kind(parts, shares, whole, again, self.tolerance)
        return ReductionFinding(
            kind, _size(whole), sum(s * _size(v) for s, v in zip(shares, parts))
        )

    def _of_loss(self, loss: Loss, y_true: Tensor, y_pred: Tensor) -> ReductionFinding:
        """Compares what a loss makes of predictions with what it makes of pieces.

        Once more with targets of zero in the last row: padding that a loss leaves out
        may not have come yet.
        """
        first, count = self._first(), self.count
        cut = tree.map_structure(
            lambda leaf: tf.concat([leaf[: count - 1], tf.zeros_like(leaf[-1:])], 0),
            y_true,
        )
        tried = [self._of_targets(loss, y, y_pred, first) for y in (y_true, cut)]
        kind = combining.agreed([finding.kind for finding in tried])
        shown = next((f for f in tried if f.kind == kind), tried[0])
        return dataclasses.replace(shown, kind=kind)

    def _of_targets(
        self, loss: Loss, y_true: Tensor, y_pred: Tensor, first: int
    ) -> ReductionFinding:
        def made(start: int, stop: int) -> np.ndarray:
            own = tree.map_structure(
                lambda leaf: tf.cast(leaf[start:stop], loss.dtype), (y_true, y_pred)
            )
            return np.asarray(loss.call(*own), np.float32)

        count = self.count
        parts = [made(0, first), made(first, count)]
        whole, again = made(0, count), made(0, count)
        if not whole.ndim or len(whole) != count or len(parts[0]) != first:
            return self._finding(parts, whole, again)
        joined = np.concatenate(parts)
        close = self.tolerance * np.abs(whole).max()
        if np.allclose(joined, whole, self.tolerance, close, equal_nan=True):
            return ReductionFinding(combining.SAMPLES)
        # One value a sample, of which each looks at the others.
        parts = [part.mean(0) for part in parts]
        found = self._finding(parts, whole.mean(0), again.mean(0))
        return dataclasses.replace(found, kind=combining.OTHER)

    def _alone(self, function: Callable, *args: Any) -> Any:
        """Runs what the other ranks may not run; None where it cannot be run alone."""
        if self.count < 2:
            return None
        # A program that fails here fails in its step as well, and says it better.
        with contextlib.suppress(Exception), calls.alone():
            return function(*args)
        return None

    def _agreed(self, mine: Sequence[ReductionFinding]) -> list[ReductionFinding]:
        """Returns what all ranks have found together, with rank 0's values."""
        text = json.dumps([dataclasses.astuple(finding) for finding in mine])
        ranks = [
            [ReductionFinding(*one) for one in json.loads(brought)]
            for brought in self._collectives.allgather_text(text)
        ]
        return [
            dataclasses.replace(
                next((f for f in row if f.whole == f.whole), row[0]),
                kind=combining.agreed([finding.kind for finding in row]),
            )
            for row in zip(*_filled(ranks), strict=True)
        ]

    def _say(self, text: str) -> None:
        output.say(self._process, text)


def _filled(ranks: list[list[ReductionFinding]]) -> list[list[ReductionFinding]]:
    """Ranks that could not look at anything have found nothing of each value."""
    length = max(map(len, ranks))
    return [found + [ReductionFinding()] * (length - len(found)) for found in ranks]


def _numbers(logs: Logs) -> list[tuple[str, Any]]:
    """What a step returns, but for results of metrics that are several numbers."""
    named = logs.items() if isinstance(logs, dict) else ()
    return [(name, value) for name, value in named if not isinstance(value, dict)]


def _has_more(record: Record) -> bool:
    return bool(record.scalars or record.terms or record.logs or record.gradients)


def _arrays(name: str, record: Record) -> list[np.ndarray]:
    values = getattr(record, name)
    if name in ("scalars", "logs"):
        values = [value for _, value in values]
    return [np.asarray(value, np.float32) for value in values]


def _flat(gradients: Sequence[Any]) -> np.ndarray:
    """All gradients of a step of an optimizer, in one vector."""
    dense = [tf.convert_to_tensor(g) for g in gradients if g is not None]
    flat = [np.ravel(np.asarray(g, np.float32)) for g in dense]
    return np.concatenate([np.zeros(0, np.float32), *flat])


def _size(value: np.ndarray) -> float:
    value = np.asarray(value, float)
    return float(value) if value.size == 1 else float(np.linalg.norm(value))


@contextlib.contextmanager
def _undone(model: Model) -> Iterator[None]:
    """Undoes what happens to a model and to random numbers while the block runs."""
    before = [(v, tf.identity(_raw(v))) for v in state.of_model(model)]
    known = {id(variable) for variable, _ in before}
    # Keras makes it when it is first needed, from a number that Python draws.
    seeds = keras_internals.made_seed_generator()
    if seeds is not None:
        before.append((seeds.state, tf.identity(_raw(seeds.state))))
    python, arrays = random.getstate(), np.random.get_state()
    numbers = {k: v for k, v in vars(model).items() if type(v) in (int, float)}
    draws = keras_internals.seed_draws()
    of_tensorflow = draws.getstate() if draws else None
    try:
        yield
    finally:
        for variable, value in before:
            _raw(variable).assign(value)
        for metric in model.metrics:  # those that were made meanwhile
            if not {id(v) for v in metric.variables} <= known:
                metric.reset_state()
        for name, number in numbers.items():
            setattr(model, name, number)
        keras_internals.set_seed_generator(seeds)
        random.setstate(python)
        np.random.set_state(arrays)
        if of_tensorflow:
            draws.setstate(of_tensorflow)


def _raw(variable: Variable) -> tf.Variable:
    return variable.value if isinstance(variable, keras.Variable) else variable


@contextlib.contextmanager
def _resting(model: Model) -> Iterator[None]:
    """Keeps layers from drawing and looking across the batch, and logs nothing."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(tf.summary.record_if(False))
        for layer in keras_internals.layers_of(model):
            if isinstance(layer, _RANDOM):
                stack.enter_context(binding.replaced(layer, "rate", 0.0))
            elif isinstance(layer, keras.layers.BatchNormalization):
                call = _inferring(layer.call)
                stack.enter_context(binding.replaced(layer, "call", call))
        yield


def _inferring(inner: Callable) -> Callable:
    def call(
        inputs: Structure, training: bool | None = None, mask: Tensor = None
    ) -> Any:
        del training
        return inner(inputs, training=False, mask=mask)

    return call


def _values(finding: ReductionFinding) -> str:
    return f"{finding.whole:.6g} for a batch, {finding.parts:.6g} for its parts"


_LOSS = (
    "loss {name!r} is not a mean over samples ({values}): each step gathers targets "
    "and predictions of all ranks and computes it on the whole batch. The numbers are "
    "the same."
)
_STEP = (
    "{step} trains differently on {size} ranks than on one: its gradient is not a "
    "mean over samples ({values}). Compare gathered samples, "
    "hfdt.allgather(features); use tf.reduce_mean(losses), not a sum divided by a "
    "constant; or give each rank whole batches, --batch per-worker."
)
_TERM = (
    "the term that layers of {model} add by add_loss is not a mean over samples "
    "({values}): each rank computes it from its part. Gather the values that it uses, "
    "hfdt.allgather(features), or give each rank whole batches, --batch per-worker."
)
_SCALAR = (
    "{step} passes a metric one value for a batch which is not a mean over samples "
    "({values}), so its result refers to parts of batches. Pass it one value per "
    "sample, or gather them first, hfdt.allgather(features)."
)
