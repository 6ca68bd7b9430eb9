"""The members of Keras and TensorFlow that are used though they are not public.

The only module that names ``keras.src``, ``tensorflow.python`` or a private member of a
class of theirs. It serves Keras 3.12 to 3.15 and the nightlies of 3.16. Every use has a
contract in ``tests/fdtcore/test_keras_internals.py``: a Keras that has moved
something breaks this file alone, and what has moved is named, all of it at once.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import tree

from fdtcore import keras_types
from fdtcore.keras_types import (
    Layer,
    Logs,
    Model,
    Optimizer,
    Structure,
    Tensor,
    TensorFlowFunction,
    Variable,
)

_moved: list[str] = []


def _found(*places: str) -> Any:
    """Returns what the first place that there is in this Keras holds.

    Args:
        places: Dotted names, that of the newest Keras last.
    """
    for place in places:
        module, _, name = place.rpartition(".")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    _moved.append(places[-1])
    return None


# --- Classes and modules -------------------------------------------------------------

_TRAINER = "keras.src.backend.tensorflow.trainer"
_ADAPTERS = "keras.src.trainers.data_adapters"
# What ``keras.Model`` inherits ``fit`` and the making of step functions from.
Trainer = _found(f"{_TRAINER}.TensorFlowTrainer", f"{_TRAINER}.Trainer")
# Its base, which is the same for all backends.
BaseTrainer = _found(
    "keras.src.trainers.trainer.BaseTrainer", "keras.src.trainers.trainer.Trainer"
)
# What ``fit`` takes the batches of an epoch from; that of TensorFlow, and its base.
EpochIterator = _found("keras.src.trainers.epoch_iterator.EpochIterator")
TFEpochIterator = _found(f"{_TRAINER}.TFEpochIterator")
# What Keras makes of the data that ``fit`` is given; the base, and two kinds.
DataAdapter = _found(f"{_ADAPTERS}.data_adapter.DataAdapter")
ArrayDataAdapter = _found(f"{_ADAPTERS}.array_data_adapter.ArrayDataAdapter")
GeneratorDataAdapter = _found(
    f"{_ADAPTERS}.generator_data_adapter.GeneratorDataAdapter"
)
PyDatasetAdapter = _found(f"{_ADAPTERS}.py_dataset_adapter.PyDatasetAdapter")
# What reads a ``PyDataset`` in several threads or processes.
OrderedEnqueuer = _found(f"{_ADAPTERS}.py_dataset_adapter.OrderedEnqueuer")
# What chooses one; ``fit`` asks the package for it each time.
data_adapters = _found(_ADAPTERS)
_array_slicing = _found(f"{_ADAPTERS}.array_slicing")
# ``keras.optimizers.Optimizer`` without its backend: ``apply`` is defined here.
BaseOptimizer = _found("keras.src.optimizers.base_optimizer.BaseOptimizer")
# Optimizers by variables' paths, and their map; since Keras 3.15.
MultiOptimizer = getattr(keras.optimizers, "MultiOptimizer", None)
OptimizerMap = MultiOptimizer and _found(
    "keras.src.optimizers.multi_optimizer.OptimizerMap"
)
# Saves what this process holds, in the background; since Keras 3.14.
OrbaxCheckpoint = getattr(keras.callbacks, "OrbaxCheckpoint", None)
# ``reduce_weighted_values`` and ``squeeze_or_expand_to_same_rank``: how a loss is
# reduced, where ``Loss.__call__`` finds it.
loss_module = _found("keras.src.losses.loss")
get_keras_mask = _found("keras.src.backend.common.masking.get_keras_mask")
set_keras_mask = _found("keras.src.backend.common.masking.set_keras_mask")
# The generator that layers and initializers without a seed draw from.
global_seed_generator = _found("keras.src.random.seed_generator.global_seed_generator")
# Its name among what Keras keeps; a constant of that module since Keras 3.13.
_SEED_GENERATOR = "global_seed_generator"
_global_state = _found("keras.src.backend.common.global_state")
# Whether a method of a callback is the empty one of ``keras.callbacks.Callback``.
is_default = _found("keras.src.utils.python_utils.is_default")

# The class of what ``tf.function`` returns.
Function: Any = type(tf.function(lambda: None))
_context = _found("tensorflow.python.eager.context")
_control_flow_util = _found("tensorflow.python.ops.control_flow_util")
_distribute_lib = _found("tensorflow.python.distribute.distribute_lib")
# Functions in C++ that ``tf.io.gfile`` and the readers of records lead through.
file_io = _found("tensorflow.python.lib.io._pywrap_file_io")
record_io = _found("tensorflow.python.lib.io._pywrap_record_io")
# The operations of data sets, files and tables, as TensorFlow generates them.
dataset_ops = _found("tensorflow.python.ops.gen_dataset_ops")
more_dataset_ops = _found("tensorflow.python.ops.gen_experimental_dataset_ops")
io_ops = _found("tensorflow.python.ops.gen_io_ops")
lookup_ops = _found("tensorflow.python.ops.gen_lookup_ops")
# What ``tf.data.Dataset.load`` calls, which looks for files before it reads.
load_dataset = _found("tensorflow.python.data.ops.load_op._load")

if _moved:
    raise ImportError(
        "Keras must be of a version that this one knows, 3.12 to 3.16. Received: Keras "
        f"{keras.__version__} and TensorFlow {tf.__version__}, without "
        f"{', '.join(_moved)}. Install another Keras."
    )


class Member(NamedTuple):
    """A private method of a class of theirs, to be wrapped."""

    owner: Any
    name: str

    def wrap(self, wrapper: Callable[[Any], Any]) -> None:
        """Puts what ``wrapper`` makes of the method in its place."""
        setattr(self.owner, self.name, wrapper(getattr(self.owner, self.name)))


# ``(self, logs)``: what a step has returned, or the metrics' results where it is them.
RESULTS_OR_LOGS = Member(Trainer, "_get_metrics_result_or_logs")
# ``(self, loss)``: changes a loss that a layer has added, before it is added up.
ADDED_LOSS = Member(Trainer, "_aggregate_additional_loss")
# ``(self, iterator, data_batch)``: builds a model that is not built, before a ``fit``.
BUILD_FROM_ITERATOR = Member(Trainer, "_maybe_symbolic_build")
# ``(self)``: yields first step, last step and data of each execution of an epoch.
ENUMERATE = Member(EpochIterator, "_enumerate_iterator")
# Every way to write a ``tf.train.Checkpoint`` leads through it.
CHECKPOINT_WRITE = Member(tf.train.Checkpoint, "_write")
# Begins to write; the arguments are the step's number and what is saved.
ORBAX_SAVE = OrbaxCheckpoint and Member(OrbaxCheckpoint, "_save_checkpoint")


# --- Models and layers ---------------------------------------------------------------


def layers_of(model: Model) -> list[Any]:
    """Returns a model and all layers in it, at any depth (``_flatten_layers``)."""
    return list(model._flatten_layers())


def own_state(layer: Layer) -> list[Any]:
    """Returns what one layer was given by ``add_weight`` as not trainable.

    Without that of layers in it, seeds, and weights that are frozen
    (``_non_trainable_variables``).
    """
    return list(layer._non_trainable_variables)


def seed_generators(layer: Layer) -> list[Any]:
    """Returns what one layer draws from (``_seed_generators``)."""
    return list(layer._seed_generators)


def build_symbolically(model: Model, batch: Structure) -> None:
    """Builds a model, its metrics, loss and optimizer without running it.

    Args:
        model: The user's Keras model.
        batch: A structure of ``KerasTensor``.
    """
    model._symbolic_build(data_batch=batch)


def check_compiled(model: Model, method: str) -> None:
    """Raises the error of Keras where ``compile`` was not called."""
    model._assert_compile_called(method)


def initial_epoch(model: Model) -> int | None:
    """Returns where callbacks that begin make ``fit`` go on; None where none has."""
    epoch: int | None = model._initial_epoch
    return epoch


def set_initial_epoch(model: Model, epoch: int | None) -> None:
    """Makes a ``fit`` whose callbacks are beginning go on at an epoch."""
    model._initial_epoch = epoch


def has_strategy(model: Model) -> bool:
    """Whether a model was made under a strategy of ``tf.distribute``.

    ``distribute_strategy`` is TensorFlow's default one where there is none.
    """
    return model._distribute_strategy is not None


def make_function(model: Model, step: Callable) -> Any:
    """Returns what Keras's loop calls with an iterator to run a step."""
    return model._make_function(step)


def without_optionals(model: Model, step: Callable) -> Callable:
    """Returns a step for batches in which what is None is an empty ``Optional``."""
    convert: Callable = model._autoconvert_optionals(step)
    return convert


def results_or_logs(model: Model, logs: Logs) -> Any:
    """Returns the metrics' results, or ``logs`` where a step has returned others."""
    return model._get_metrics_result_or_logs(logs)


def in_order(model: Model, logs: Logs) -> Any:
    """Returns logs as a list in the order of ``metrics_names``, or the only one."""
    return model._flatten_metrics_in_order(logs)


def loss_tracker(model: Model) -> Any:
    """Returns the ``Mean`` of a compiled loss; None where nothing is compiled."""
    return getattr(model, "_loss_tracker", None)


def compiled_metrics(model: Model) -> list[Any]:
    """Returns the metrics given to ``compile``: those that are built, and as given."""
    compiled = getattr(model, "_compile_metrics", None)
    if not compiled:
        return []
    given = tree.flatten([compiled._user_metrics, compiled._user_weighted_metrics])
    return [*compiled.metrics, *[one for one in given if one is not None]]


def compiled_losses(model: Model) -> list[Any]:
    """Returns the losses that were given to ``compile``, as they were given."""
    compiled = model._compile_loss
    return tree.flatten(compiled._user_loss) if compiled else []


def compute_loss(model: Model, data: Structure, *, is_training: bool) -> Any:
    """Computes what Keras's own step does of a batch before it takes gradients."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    training = {"training": False} if model._call_has_training_arg else {}
    return model._compute_loss(
        x=x,
        y=y,
        y_pred=model(x, **training),
        sample_weight=weight,
        training=is_training,
    )


def num_batches(epoch_iterator: keras_types.EpochIterator) -> int | None:
    """Returns how many batches a pass has, None where it is not known yet."""
    found: int | None = epoch_iterator._num_batches
    return found


def set_epoch_position(
    epoch_iterator: keras_types.EpochIterator, num_batches: int | None, seen: int
) -> None:
    """Makes an epoch iterator go on within a pass.

    Args:
        epoch_iterator: The one of a ``fit``.
        num_batches: Batches of a pass, None where it is not known.
        seen: Batches of the pass so far, with those of the next step.
    """
    epoch_iterator._num_batches = num_batches
    epoch_iterator._steps_seen = seen


def tell_passes(
    epoch_iterator: keras_types.EpochIterator, begin: Callable[[Any], Any]
) -> None:
    """Lets a function stand between an epoch iterator and the data of each pass.

    Args:
        epoch_iterator: Changed; ``_get_iterator`` is asked once for each pass.
        begin: From the data set to what is iterated.
    """
    inner = epoch_iterator._get_iterator
    epoch_iterator._get_iterator = lambda: begin(inner())


def validation_iterator(model: Model) -> Any:
    """Returns the epoch iterator of a running ``fit``'s validation; None without."""
    return getattr(model, "_eval_epoch_iterator", None)


def batches_of_epoch(epoch_iterator: keras_types.EpochIterator) -> Any:
    """Returns what an epoch iterator takes batches from, anew (``_get_iterator``)."""
    return epoch_iterator._get_iterator()


# --- Data adapters -------------------------------------------------------------------


def num_samples(adapter: keras_types.DataAdapter) -> int | None:
    """Returns how many samples an adapter of arrays has; None of any other."""
    found: int | None = getattr(adapter, "_num_samples", None)
    return found


def in_passes(arrays: Structure, adapter: keras_types.DataAdapter) -> tf.data.Dataset:
    """Returns whole passes over arrays, shuffled as another adapter does.

    The order is TensorFlow's, from its global seed; since Keras 3.16 it is the same in
    each epoch. It does not depend on the size of batches unless they are shuffled one
    by one.
    """
    shuffle, num_samples = adapter._shuffle, adapter._num_samples
    by_batch = shuffle == "batch"
    size = adapter._batch_size if by_batch else num_samples
    made = ArrayDataAdapter(arrays, batch_size=size, shuffle=shuffle).get_tf_dataset()
    return made.rebatch(num_samples) if by_batch else made


def sliceable_inputs(adapter: keras_types.DataAdapter) -> Any:
    """Returns the arrays of an adapter as what TensorFlow can take rows of."""
    inputs = _array_slicing.convert_to_sliceable(
        adapter._inputs, target_backend="tensorflow"
    )
    return tree.lists_to_tuples(inputs)


def is_sparse_rows(leaf: Tensor) -> bool:
    """Whether a leaf of such arrays is a sparse one, which Keras keeps by rows."""
    return isinstance(leaf, _array_slicing.TensorflowSparseWrapper)


def sparse_rows(leaf: Tensor, index: tf.Tensor) -> Any:
    """Returns rows of a sparse one as a ``SparseTensor``."""
    return _array_slicing.slice_tensorflow_sparse_wrapper(leaf, index)


def shuffle(adapter: keras_types.DataAdapter, order: list[int], epoch: int) -> None:
    """Shuffles the order of the batches of a ``PyDataset`` as Keras does, in place.

    Args:
        adapter: Data adapter of the data set.
        order: The indices of its batches.
        epoch: Epochs of this ``fit`` so far.
    """
    # Before Keras 3.16 from the generator of the process.
    draws = random.Random(epoch) if hasattr(adapter, "_epoch") else random
    draws.shuffle(order)


def standard_batch(adapter: keras_types.DataAdapter, batch: Structure) -> Any:
    """Returns a batch of a ``PyDataset`` as its adapter hands it out."""
    return adapter._standardize_batch(batch)


def make_batches(
    adapter: keras_types.DataAdapter,
    make: Callable[[Callable[[], Any]], Any],
) -> None:
    """Lets a function make the batches of each pass over a ``PyDataset``.

    Args:
        adapter: Data adapter of the data set, which has made no ``tf.data`` one yet.
        make: From what makes them for Keras to an iterator.
    """
    inner = adapter._get_iterator
    adapter._get_iterator = lambda: make(inner)


# --- Optimizers ----------------------------------------------------------------------


def is_multi(optimizer: Optimizer) -> bool:
    """Whether an optimizer is a ``MultiOptimizer``, of a Keras that has one."""
    return MultiOptimizer is not None and isinstance(optimizer, MultiOptimizer)


def is_optimizer_map(value: object) -> bool:
    """Whether a value is the map of a ``MultiOptimizer``."""
    return OptimizerMap is not None and isinstance(value, OptimizerMap)


def descended(optimizer: Optimizer) -> list[Any]:
    """Returns the variables that an optimizer was built with."""
    return list(optimizer._trainable_variables)


def index_of(optimizer: Optimizer, variable: Variable) -> int:
    """Returns the place of a variable among those an optimizer was built with."""
    return int(optimizer._get_variable_index(variable))


def is_descended(optimizer: Optimizer, variable: Variable) -> bool:
    """Whether an optimizer was built with a variable."""
    return optimizer._var_key(variable) in optimizer._trainable_variables_indices


def call_count(optimizer: Optimizer) -> Any:
    """Returns the variable that counts calls of ``apply``, int64 scalar.

    ``optimizer.iterations`` counts updates, of which accumulation makes fewer.
    """
    return optimizer._iterations


def rate_source(optimizer: Optimizer) -> Any:
    """Returns what a learning rate comes from: a variable, a schedule, a function.

    ``optimizer.learning_rate`` is the number that it gives now.
    """
    return optimizer._learning_rate


def accumulated(optimizer: Optimizer, variable: Variable) -> Any:
    """Returns the sum of gradients that an optimizer keeps for a variable."""
    return optimizer._accumulated_gradients[index_of(optimizer, variable)]


def accumulators(optimizer: Optimizer) -> list[Any]:
    """Returns the sums of gradients that an optimizer keeps between two updates."""
    return list(getattr(optimizer, "_accumulated_gradients", ()))


def moving_average(optimizer: Optimizer, variable: Variable) -> Any:
    """Returns the average that an optimizer with ``use_ema`` keeps of a variable."""
    return optimizer._model_variables_moving_average[index_of(optimizer, variable)]


def without_overwritten(
    optimizer: Optimizer, gradients: Sequence[Any], variables: Sequence[Any]
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Assigns what stands in place of gradients; returns the others, and theirs.

    Layers of float8 hand on new values of their scales so
    (``_overwrite_variables_directly_with_gradients``).
    """
    left: tuple[Sequence[Any], Sequence[Any]] = (
        optimizer._overwrite_variables_directly_with_gradients(gradients, variables)
    )
    return left


def is_decayed(optimizer: Optimizer, variable: Variable) -> bool:
    """Whether an optimizer's weight decay applies to a variable."""
    excluded = getattr(optimizer, "_is_excluded_from_weight_decay", None)
    if excluded is not None:  # since Keras 3.16, which asks for Keras's name
        return not excluded(variable)
    if not hasattr(optimizer, "_exclude_from_weight_decay"):
        return True  # nothing was ever excluded
    # As Keras asks: by the name that TensorFlow has given.
    raw = variable.value if isinstance(variable, keras.Variable) else variable
    return bool(optimizer._use_weight_decay(raw))


def set_path(variable: Variable, path: str) -> None:
    """Gives a variable another path, by which optimizers find rules for it."""
    variable._path = path


# --- TensorFlow ----------------------------------------------------------------------


def is_compiled(function: TensorFlowFunction) -> bool:
    """Whether a ``tf.function`` is to be compiled by XLA."""
    return bool(function._jit_compile)


def uncompiled(function: TensorFlowFunction) -> Any:
    """Returns a ``tf.function`` like another one, for TensorFlow without XLA."""
    return tf.function(
        function.python_function,
        input_signature=function.input_signature,
        autograph=function._autograph,
        reduce_retracing=function._reduce_retracing,
    )


def in_xla() -> bool:
    """Whether what is traced now will be compiled by XLA."""
    graph = tf.compat.v1.get_default_graph()
    return bool(_control_flow_util.GraphOrParentsInXlaContext(graph))


def global_seed() -> int | None:
    """Returns what ``tf.random.set_seed`` was given last, if it was called."""
    seed: int | None = _context.global_seed()
    return seed


def made_seed_generator() -> Any:
    """Returns the generator of ``global_seed_generator``; None before Keras made it."""
    return _global_state.get_global_attribute(_SEED_GENERATOR)


def set_seed_generator(generator: keras.random.SeedGenerator | None) -> None:
    """Replaces the generator of ``global_seed_generator``; None lets Keras make one."""
    _global_state.set_global_attribute(_SEED_GENERATOR, generator)


def seed_draws() -> Any:
    """Returns the ``random.Random`` that operations without a seed draw theirs from.

    None where TensorFlow has not been seeded.
    """
    return _context.context()._rng


def default_strategy() -> Any:
    """Returns the strategy of ``tf.distribute`` where a program has chosen none."""
    return _distribute_lib._get_default_strategy()


def inputs_of(dataset: tf.data.Dataset) -> list[Any]:
    """Returns the data sets that one is made from (``_inputs``)."""
    return list(dataset._inputs())


def is_unordered(dataset: tf.data.Dataset) -> bool:
    """Whether a pass over a data set may come in another order each time."""
    if dataset.options().deterministic is False:
        return True
    asked = getattr(dataset, "_deterministic", None)
    return asked in (False, "false") or any(map(is_unordered, inputs_of(dataset)))


def shuffle_seeds(dataset: tf.data.Dataset) -> list[Any] | None:
    """Returns both seeds of a data set that shuffles; None of any other."""
    seeds = [getattr(dataset, name, None) for name in ("_seed", "_seed2")]
    return None if None in seeds else seeds


def note_checkpoint(manager: tf.train.CheckpointManager, path: str) -> None:
    """Tells a manager of a checkpoint that it has not written itself."""
    known = manager._maybe_delete  # path -> when it was written
    if path in known:
        return
    manager._latest_checkpoint = path
    known[path] = 0.0
    while manager._max_to_keep and len(known) > manager._max_to_keep:
        known.popitem(last=False)
