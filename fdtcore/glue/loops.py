"""Hand-written training loops, in scripts that know nothing of ranks."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fdtcore import output, training_loops
from fdtcore.engine import Collectives, Engine
from fdtcore.glue import batches, binding, data, keras_internals
from fdtcore.glue.combining import SUM
from fdtcore.glue.step import share_of_samples, shared
from fdtcore.keras_types import Dataset, Optimizer
from fdtcore.process import Process


def share(collectives: Collectives) -> tf.Tensor:
    """Returns this rank's share of the batch that a hand-written loop took last.

    All ranks have equal shares where no data set is iterated in parts.

    Args:
        collectives: Those of the ranks.
    """
    taken, size = binding.context().loop_samples, collectives.process.size
    own, total = (1, size) if taken is None else (taken[0], taken[1])
    return share_of_samples(collectives, own, total)


def note_apply(process: Process) -> None:
    """Says once what a gradient outside ``fit`` is of, where it is of whole batches."""
    if binding.context().loop_samples is None and process.size > 1:
        output.say(
            process,
            "this loop trains in replica: every rank computes whole batches, which is "
            "correct but no faster. Iterate a batched tf.data.Dataset with a for "
            "statement (in a script that imports hfdt: hfdt.shard of it) to share the "
            "work.",
        )


@functools.cache
def install() -> None:
    """Makes training loops of the user's program iterate what is this rank's.

    Where snapshots are taken, these are told of the loops. An engine is bound before:
    the frame of the loop must be the next one.
    """
    inner = tf.data.Dataset.__iter__

    @functools.wraps(inner)
    def iterate(self: Dataset) -> Any:
        bound = binding.current()
        if bound is None or not tf.executing_eagerly():
            return inner(self)
        is_split = data.is_split(self)
        if not bound.everything and not is_split:
            return inner(self)  # of this rank alone, for all that is known
        caller, engine, begin = sys._getframe(1), bound.engine, inner
        path, line = caller.f_code.co_filename, caller.f_lineno
        if line in training_loops.lines(path):
            if engine.process.size > 1 and not is_split and batched(self):
                begin = functools.partial(_begin_parts, engine, inner, line)
        elif line not in training_loops.lines(path, training_loops.ON_BATCH):
            return inner(self)
        followed = binding.context().loops
        return begin(self) if followed is None else followed.iterate(self, begin)

    tf.data.Dataset.__iter__ = iterate


def _begin_parts(
    engine: Engine, inner: Callable[[Any], Any], line: int, dataset: Dataset
) -> Any:
    return engine.strategy.iterate(dataset, inner, line)


def weight_of_gradients(collectives: Collectives, optimizer: Optimizer) -> tf.Tensor:
    """Returns the weight of this rank's next gradients, float32 scalar.

    In a step it is the rank's share of the batch, else that of the batch that was read
    last; the weights of all ranks sum to 1.

    Args:
        collectives: Those of the ranks.
        optimizer: The one that is given the gradients.
    """
    step = shared()
    if step is None:
        note_apply(collectives.process)
        return share(collectives)
    if step.next_kind("gradients") == SUM:
        # Those of all ranks add up; one without samples has none to add.
        return tf.cast(step.num_samples > 0, tf.float32)
    return step.share_of(optimizer)


def iterate_parts(
    process: Process, dataset: tf.data.Dataset, inner: Callable[[Any], Any], line: int
) -> Any:
    """Iterates this rank's part of each batch.

    Args:
        process: This process: its rank, the number of ranks, its host.
        dataset: Data set of the loop.
        inner: TensorFlow's own way to iterate one.
        line: That of the loop, for the message.
    """
    output.say(
        process,
        f"tf.data.Dataset: rank 0 takes part 0 of {process.size} of "
        f"each batch in the training loop on line {line}.",
    )
    return inner(_parts(dataset, process))


def batched(dataset: tf.data.Dataset) -> bool:
    """Whether the elements of a data set are batches, as far as its making shows."""
    kind = type(dataset).__name__
    if "Unbatch" in kind or "FlatMap" in kind or "Interleave" in kind:
        return False
    return "Batch" in kind or any(
        batched(d) for d in keras_internals.inputs_of(dataset)
    )


def shard(dataset: tf.data.Dataset, process: Process) -> tf.data.Dataset:
    """Returns this rank's part of each batch, for a loop that asks for it."""
    if process.size == 1:
        return data.note_split(dataset)
    return data.note_split(_parts(dataset, process))


def _parts(dataset: tf.data.Dataset, process: Process) -> tf.data.Dataset:
    """Parts of batches; a batch with fewer samples than ranks goes to all, whole."""
    context = binding.context()
    if context.loop_samples is None:
        context.loop_samples = tf.Variable([1, process.size], trainable=False)
    taken = context.loop_samples

    @tf.autograph.experimental.do_not_convert
    def own(*batch: Any) -> Any:
        batch = batch[0] if len(batch) == 1 else batch
        whole = batches.count(batch)
        in_parts = whole >= process.size
        mine = tf.cond(
            in_parts,
            lambda: batches.part(batch, process),
            lambda: tf.nest.map_structure(batches.all_rows, batch),
        )
        # Nothing is read ahead behind this, so it names the batch in hand.
        total = tf.where(in_parts, whole, whole * process.size)
        taken.assign([batches.count(mine), total])
        return mine

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    return dataset.map(own).with_options(options)
