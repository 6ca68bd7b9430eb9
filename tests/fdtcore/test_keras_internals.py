"""The contract with Keras and TensorFlow: one test for each thing that is not public.

Run with another Keras in front of the path (``make test-nightly``), they tell what that
one has moved. The Keras that was seen stands in the name of the first test.
"""

from __future__ import annotations

import inspect
import itertools
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from fdtcore.glue import keras_internals

X = np.arange(12, dtype="float32").reshape(6, 2)
Y = np.ones((6, 1), "float32")


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    made = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(3, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5, name="drop"),
            keras.layers.Dense(1, name="out"),
        ]
    )
    made.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mse"])
    return made


def stepped(optimizer, *variables):
    """An optimizer that has made one step on variables."""
    optimizer.apply([tf.ones(v.shape) for v in variables], list(variables))
    return optimizer


def epoch_iterator():
    return keras_internals.TFEpochIterator(
        x=X, y=Y, batch_size=2, distribute_strategy=keras_internals.default_strategy()
    )


def variable(value, name="w"):
    return keras.Variable(np.asarray(value, "float32"), name=name)


@pytest.mark.parametrize(
    "versions", [f"keras {keras.__version__}, tensorflow {tf.__version__}"]
)
def test_this_contract_was_seen_with(versions):
    print(versions)
    assert keras.backend.backend() == "tensorflow"


# --- Classes, modules and methods that are wrapped -----------------------------------


@pytest.mark.parametrize(
    "name", ["fit", "evaluate", "predict", "train_on_batch", "test_on_batch"]
)
def test_the_trainer_defines_what_a_model_inherits(name):
    assert vars(keras_internals.Trainer)[name] is getattr(keras.Model, name)


@pytest.mark.parametrize("kind", ["train", "test"])
def test_the_trainer_makes_functions_of_steps(kind):
    made = getattr(keras_internals.Trainer, f"make_{kind}_function")
    assert list(inspect.signature(made).parameters) == ["self", "force"]
    assert hasattr(keras_internals.Trainer, f"{kind}_step")


def test_the_base_of_the_trainer_computes_the_loss():
    assert issubclass(keras_internals.Trainer, keras_internals.BaseTrainer)
    assert "compute_loss" in vars(keras_internals.BaseTrainer)


@pytest.mark.parametrize(
    ("member", "arguments"),
    [
        (keras_internals.RESULTS_OR_LOGS, ["self", "logs"]),
        (keras_internals.ADDED_LOSS, ["self", "loss"]),
        (keras_internals.BUILD_FROM_ITERATOR, ["self", "iterator", "data_batch"]),
        (keras_internals.ENUMERATE, ["self"]),
        (keras_internals.CHECKPOINT_WRITE, ["self", "file_prefix", "options"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_wrapped_method_takes_what_the_wrapper_hands_on(member, arguments):
    taken = inspect.signature(getattr(member.owner, member.name)).parameters
    assert list(taken)[: len(arguments)] == arguments


def test_orbax_begins_to_write_in_one_method():
    member = keras_internals.ORBAX_SAVE
    if member:
        assert callable(getattr(member.owner, member.name))
    else:
        assert not hasattr(keras.callbacks, "OrbaxCheckpoint")


def test_a_member_is_wrapped_where_it_is_called():
    class Owner:
        def _name(self):
            return 1

    keras_internals.Member(Owner, "_name").wrap(lambda inner: lambda s: inner(s) + 1)
    assert Owner()._name() == 2


def test_each_batch_of_an_epoch_is_enumerated_with_its_first_and_last_step():
    iterator = epoch_iterator()
    assert isinstance(iterator, keras_internals.EpochIterator)
    member = keras_internals.ENUMERATE
    steps = list(getattr(iterator, member.name)())
    assert [(first, last) for first, last, _ in steps] == [(0, 0), (1, 1), (2, 2)]


def test_the_end_of_an_epoch_is_caught_in_a_context():
    iterator = epoch_iterator()
    with iterator.catch_stop_iteration():
        raise StopIteration
    assert isinstance(type(iterator).num_batches, property)


def test_an_epoch_iterator_is_asked_for_batches():
    iterator = epoch_iterator()
    x, _ = next(iter(keras_internals.batches_of_epoch(iterator)))
    assert x.shape == (2, 2)


def test_an_epoch_iterator_is_told_of_its_passes_and_goes_on_within_one():
    iterator, passes = epoch_iterator(), []
    keras_internals.tell_passes(iterator, lambda data: passes.append(1) or data)
    assert keras_internals.num_batches(iterator) == 3
    steps = iter(iterator)
    assert next(steps)[0] == 0
    keras_internals.set_epoch_position(iterator, 3, 3)
    assert passes == [1]
    with pytest.raises(StopIteration):  # the pass is over
        next(steps)
    assert passes == [1, 1]  # Keras has begun the next one already


def test_fit_looks_at_its_data_before_it_looks_at_those_of_validation(
    model, monkeypatch
):
    seen = []
    build = keras_internals.BUILD_FROM_ITERATOR

    def noted(inner):
        def look(self, iterator=None, data_batch=None):
            found = keras_internals.validation_iterator(self)
            seen.append(found is not None and found is iterator)
            return inner(self, iterator=iterator, data_batch=data_batch)

        return look

    monkeypatch.setattr(
        build.owner, build.name, noted(getattr(build.owner, build.name))
    )
    model.fit(X, Y, validation_data=(X, Y), verbose=0)
    assert seen == [False, True]


def test_the_adapter_of_data_is_looked_up_each_time(monkeypatch):
    seen = []
    inner = keras_internals.data_adapters.get_data_adapter

    def spy(*args, **kwargs):
        seen.append(inner(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(keras_internals.data_adapters, "get_data_adapter", spy)
    epoch_iterator()
    assert isinstance(seen[0], keras_internals.ArrayDataAdapter)
    assert isinstance(seen[0], keras_internals.DataAdapter)


def test_every_optimizer_takes_its_step_in_one_method():
    assert issubclass(keras.optimizers.Optimizer, keras_internals.BaseOptimizer)
    assert "apply" in vars(keras_internals.BaseOptimizer)
    assert "scale_loss" in vars(keras_internals.BaseOptimizer)


def test_a_multi_optimizer_holds_a_map():
    if keras_internals.MultiOptimizer is None:
        assert not keras_internals.is_multi(keras.optimizers.SGD())
        assert not keras_internals.is_optimizer_map({})
        return
    inner = keras.optimizers.SGD()
    held = keras_internals.OptimizerMap(default_optimizer=inner)
    held["a"] = keras.optimizers.Adam()
    assert keras_internals.is_optimizer_map(held)
    assert [*held.values(), held.default_optimizer][-1] is inner
    assert keras_internals.is_multi(keras_internals.MultiOptimizer(held))


def test_a_loss_is_reduced_where_its_module_says(monkeypatch):
    seen = []
    inner = keras_internals.loss_module.reduce_weighted_values

    def spy(values, sample_weight, mask, reduction, dtype):
        seen.append((sample_weight, mask, reduction))
        return inner(values, sample_weight, mask, reduction, dtype)

    monkeypatch.setattr(keras_internals.loss_module, "reduce_weighted_values", spy)
    keras.losses.MeanSquaredError("sum")(
        tf.constant(Y), tf.constant(Y), sample_weight=tf.ones([6])
    )
    (weight, mask, reduction) = seen[0]
    assert weight is not None and mask is None and reduction == "sum"


def test_weights_and_masks_are_brought_to_one_rank():
    squeeze = keras_internals.loss_module.squeeze_or_expand_to_same_rank
    weight, mask = squeeze(tf.ones([6, 1]), tf.ones([6]))
    assert weight.shape.rank == mask.shape.rank


def test_a_mask_is_kept_with_predictions():
    value = tf.ones([2, 2])
    assert keras_internals.get_keras_mask(value) is None
    keras_internals.set_keras_mask(value, tf.constant([True, False]))
    np.testing.assert_array_equal(keras_internals.get_keras_mask(value), [True, False])


def test_the_generator_of_all_draws_has_a_state():
    state = keras_internals.global_seed_generator().state
    before = state.numpy().copy()
    keras.random.normal([1])
    assert (state.numpy() != before).any()


def test_the_generator_of_all_draws_can_be_forgotten_and_put_back():
    made = keras_internals.global_seed_generator()
    assert keras_internals.made_seed_generator() is made
    keras_internals.set_seed_generator(None)
    assert keras_internals.made_seed_generator() is None
    assert keras_internals.global_seed_generator() is not made
    keras_internals.set_seed_generator(made)
    assert keras_internals.global_seed_generator() is made


def test_a_generator_is_kept_as_what_makes_it():
    adapter = keras_internals.GeneratorDataAdapter(
        (np.ones([1, 2]), np.ones([1])) for _ in range(2)
    )
    assert len(list(adapter.generator())) == 2


def test_the_empty_methods_of_a_callback_are_told_from_others():
    class Own(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            pass

    assert keras_internals.is_default(Own().on_epoch_begin)
    assert not keras_internals.is_default(Own().on_epoch_end)


# --- Models and layers ---------------------------------------------------------------


def test_layers_are_found_at_any_depth(model):
    outer = keras.Sequential([keras.Input((2,)), model])
    names = [layer.name for layer in keras_internals.layers_of(outer)]
    assert outer.name in names and {"hidden", "norm", "drop"} <= set(names)


def test_a_layer_tells_its_own_state_from_frozen_weights(model):
    norm, hidden = model.get_layer("norm"), model.get_layer("hidden")
    hidden.trainable = False
    assert len(keras_internals.own_state(norm)) == 2
    assert keras_internals.own_state(hidden) == []
    assert keras_internals.own_state(model) == []  # without those of layers in it


def test_a_layer_tells_what_it_draws_from(model):
    (generator,) = keras_internals.seed_generators(model.get_layer("drop"))
    assert generator.state.shape == (2,)
    assert keras_internals.seed_generators(model.get_layer("hidden")) == []


def test_a_model_is_built_without_being_run():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    batch = keras.KerasTensor((None, 2)), keras.KerasTensor((None, 1))
    keras_internals.build_symbolically(model, batch)
    assert model.built and model.optimizer.built
    assert not model.optimizer.iterations.numpy()


def test_a_model_that_is_not_compiled_is_told_so():
    model = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="compile"):
        keras_internals.check_compiled(model, "fit")


def test_callbacks_that_begin_choose_the_first_epoch(model):
    seen = []

    class Later(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(keras_internals.initial_epoch(self.model))
            keras_internals.set_initial_epoch(self.model, 2)

        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)

    model.fit(X, Y, epochs=3, initial_epoch=1, callbacks=[Later()], verbose=0)
    assert seen == [None, 2]


def test_a_model_knows_the_strategy_that_it_was_made_under(model):
    assert not keras_internals.has_strategy(model)
    assert model.distribute_strategy is keras_internals.default_strategy()
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        made = keras.Sequential([keras.layers.Dense(1)])
    assert keras_internals.has_strategy(made)


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("eagerly", [True, False])
def test_a_function_of_a_step_takes_batches_from_an_iterator(model, at_once, eagerly):
    model.compile("sgd", "mse", run_eagerly=eagerly, steps_per_execution=at_once)
    seen = []

    def step(data):
        seen.append(data)
        return {"sum": tf.reduce_sum(data)}

    function = keras_internals.make_function(model, step)
    batches = iter(tf.data.Dataset.from_tensor_slices(X).batch(2))
    for _ in range(3 // at_once):
        logs = function(batches)
    assert float(np.sum(logs["sum"])) > 0 and seen
    with pytest.raises((StopIteration, tf.errors.OutOfRangeError)):
        for _ in range(2):
            function(batches)


def test_what_is_none_in_a_batch_comes_as_an_optional(model):
    seen = []
    step = keras_internals.without_optionals(model, seen.append)
    step((tf.ones([1]), tf.experimental.Optional.empty(tf.TensorSpec([]))))
    assert seen[0][1] is None


def test_a_step_that_returns_what_metrics_are_named_like_gets_their_results(model):
    model.fit(X, Y, verbose=0)
    names = model.get_metrics_result().keys()
    found = keras_internals.results_or_logs(model, dict.fromkeys(names, 0.0))
    assert found.keys() == names and any(found.values())
    assert keras_internals.results_or_logs(model, {"own": 1.0}) == {"own": 1.0}


def test_logs_come_as_a_list_in_their_order(model):
    model.fit(X, Y, verbose=0)
    names = model.metrics_names
    logs = {name: float(i) for i, name in enumerate(names)}
    assert keras_internals.in_order(model, logs)[0] == logs["loss"]


def test_the_loss_is_tracked_by_a_mean(model):
    tracker = keras_internals.loss_tracker(model)
    model.fit(X, Y, verbose=0)
    assert isinstance(tracker, keras.metrics.Mean)
    assert float(tracker.count.value) == len(X) and float(tracker.total.value) > 0
    assert keras_internals.loss_tracker(object()) is None


def test_metrics_that_were_compiled_are_known_before_they_are_built(model):
    own = keras.metrics.Mean("own")
    model.compile("sgd", "mse", metrics=[own])
    assert keras_internals.compiled_metrics(model) == [own]
    assert keras_internals.compiled_metrics(object()) == []


def test_losses_that_were_compiled_are_known_as_given(model):
    own = keras.losses.MeanSquaredError()
    model.compile("sgd", own)
    assert keras_internals.compiled_losses(model) == [own]
    without = keras.Sequential([keras.layers.Dense(1)])
    without.compile("sgd")
    assert keras_internals.compiled_losses(without) == []


@pytest.mark.parametrize("training", [True, False])
def test_the_loss_of_a_batch_is_that_of_the_step(model, training):
    model.compile("sgd", "mae")
    found = keras_internals.compute_loss(model, (X, Y), is_training=training)
    expected = keras.losses.mean_absolute_error(Y, model(X, training=False))
    assert float(found) == pytest.approx(float(tf.reduce_mean(expected)), rel=1e-5)


# --- Data adapters -------------------------------------------------------------------


def test_an_adapter_of_arrays_tells_its_samples():
    adapter = keras_internals.ArrayDataAdapter(X, Y, batch_size=4, shuffle=False)
    assert keras_internals.num_samples(adapter) == 6
    assert keras_internals.num_samples(object()) is None


@pytest.mark.parametrize("num_samples", [23, 24])
@pytest.mark.parametrize("shuffle", [True, False, "batch"])
def test_a_pass_over_arrays_has_the_order_of_an_adapters_batches(shuffle, num_samples):
    places = np.arange(num_samples)

    def adapter():
        tf.random.set_seed(1)
        return keras_internals.ArrayDataAdapter(places, batch_size=4, shuffle=shuffle)

    batches = adapter().get_tf_dataset()
    passes = keras_internals.in_passes(places, adapter())
    for _ in range(3):
        (whole,) = passes.as_numpy_iterator()
        assert sorted(whole) == places.tolist()
        expected = np.concatenate(list(batches.as_numpy_iterator()))
        np.testing.assert_array_equal(whole, expected)


def test_rows_are_taken_of_the_arrays_of_an_adapter():
    tensor = tf.sparse.from_dense(X)
    adapter = keras_internals.ArrayDataAdapter(tensor, Y, batch_size=2)
    sparse, dense = keras_internals.sliceable_inputs(adapter)
    assert keras_internals.is_sparse_rows(sparse)
    assert not keras_internals.is_sparse_rows(dense)
    np.testing.assert_array_equal(dense, Y)
    rows = keras_internals.sparse_rows(sparse, tf.constant([2, 4]))
    np.testing.assert_array_equal(tf.sparse.to_dense(rows), X[[2, 4]])


class Numbered(keras.utils.PyDataset):
    """Batches that are their own number."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return np.full((1, 1), index, "float32"), np.zeros((1, 1), "float32")


def orders_of_keras(adapter):
    found = []
    dataset = adapter.get_tf_dataset()
    for _ in range(2):
        adapter.on_epoch_begin()
        found.append([int(np.ravel(x)[0]) for x, *_ in dataset])
        adapter.on_epoch_end()
    return found


def test_batches_of_a_py_dataset_come_in_the_order_of_keras():
    adapter = keras_internals.PyDatasetAdapter(Numbered(), shuffle=True)
    state = random.getstate()
    expected = orders_of_keras(adapter)
    random.setstate(state)
    found = []
    for epoch in range(2):
        order = list(range(adapter.num_batches))
        keras_internals.shuffle(adapter, order, epoch)
        found.append(order)
    assert found == expected
    assert found[0] != found[1]


def test_a_py_dataset_that_is_read_ahead_is_held_twice():
    adapter = keras_internals.PyDatasetAdapter(Numbered(workers=2), shuffle=False)
    assert adapter.enqueuer.py_dataset is adapter.py_dataset


def test_a_batch_of_a_py_dataset_is_brought_to_its_form():
    adapter = keras_internals.PyDatasetAdapter(Numbered(), shuffle=False)
    assert adapter.enqueuer is None
    batch = keras_internals.standard_batch(adapter, Numbered()[3])
    assert len(batch) in (2, 3) and float(np.ravel(batch[0])[0]) == 3


def test_a_function_makes_the_batches_of_a_py_dataset():
    adapter = keras_internals.PyDatasetAdapter(Numbered(), shuffle=False)
    made = []

    def make(inner):
        made.append(inner())
        return itertools.islice(made[-1], 2, 4)

    keras_internals.make_batches(adapter, make)
    assert orders_of_keras(adapter) == [[2, 3], [2, 3]]


@pytest.mark.parametrize("has_end", [True, False])
def test_a_reader_ahead_takes_the_indices_that_it_is_given_in_each_pass(has_end):
    given = []

    class Reader(keras_internals.OrderedEnqueuer):
        @property
        def indices(self):
            return self._indices

        @indices.setter
        def indices(self, drawn):
            given.append(drawn)
            self._indices = itertools.islice(drawn, 3, None)

        def start(self):
            started.append(self.running)
            super().start()

    class Endless(Numbered):
        def __len__(self):
            return None

        num_batches = None

    data = (Numbered if has_end else Endless)(workers=2)
    adapter = keras_internals.PyDatasetAdapter(data, shuffle=False)
    reader, started = adapter.enqueuer, []
    without_end = vars(reader).pop("indices", None)  # made with it, where none ends
    assert (without_end is None) == has_end
    reader.__class__ = Reader
    if without_end is not None:
        reader.indices = without_end
    adapter.on_epoch_begin()
    batches = list(itertools.islice(reader.get(), 5))
    assert [int(np.ravel(x)[0]) for x, *_ in batches] == [3, 4, 5, 6, 7]
    assert len(given) == 1 and started == [False]
    assert reader.running
    reader.stop()


# --- Variables -----------------------------------------------------------------------


def test_each_variable_of_keras_begins_in_its_init(monkeypatch):
    made, inner = [], keras.Variable.__init__

    def init(self, *args, **kwargs):
        inner(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(keras.Variable, "__init__", init)
    dense, optimizer = keras.layers.Dense(1), keras.optimizers.Adam()
    dense.build((None, 2))
    optimizer.build(dense.trainable_variables)
    total, drop = keras.metrics.Mean(), keras.layers.Dropout(0.5)
    total.update_state(1.0)
    drop.build((None, 2))
    held = [v for o in (dense, optimizer, total, drop) for v in o.variables]
    assert len(held) == 2 + 2 + 4 + 2 + 1
    assert {id(v) for v in held} <= {id(v) for v in made}


# --- Optimizers ----------------------------------------------------------------------


def test_an_optimizer_knows_what_it_was_built_with():
    a, b, c = variable([1.0]), variable([2.0]), variable([3.0])
    optimizer = keras.optimizers.SGD()
    optimizer.build([a, b])
    assert [id(v) for v in keras_internals.descended(optimizer)] == [id(a), id(b)]
    assert keras_internals.index_of(optimizer, b) == 1
    assert keras_internals.is_descended(optimizer, a)
    assert not keras_internals.is_descended(optimizer, c)


def test_an_optimizer_that_accumulates_counts_calls_and_keeps_sums():
    w = variable([1.0, 2.0])
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=2)
    optimizer = stepped(optimizer, w)
    assert int(keras_internals.call_count(optimizer).numpy()) == 1
    assert int(optimizer.iterations) == 0
    np.testing.assert_array_equal(keras_internals.accumulated(optimizer, w), [1, 1])


def test_an_optimizer_that_accumulates_keeps_a_sum_for_each_variable():
    adding = keras.optimizers.SGD(gradient_accumulation_steps=2)
    one = variable([1.0, 2.0])
    assert keras_internals.accumulators(adding) == []
    stepped(adding, one)
    [found] = keras_internals.accumulators(adding)
    np.testing.assert_array_equal(found, [1.0, 1.0])
    assert keras_internals.accumulators(stepped(keras.optimizers.SGD(), one)) == []


def test_an_optimizer_tells_where_its_rate_comes_from():
    plain = keras.optimizers.SGD(0.5)
    assert isinstance(keras_internals.rate_source(plain), keras.Variable)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)
    scheduled = keras.optimizers.SGD(schedule)
    assert keras_internals.rate_source(scheduled) is schedule

    def own():
        return 0.25

    called = keras.optimizers.SGD(own)
    assert keras_internals.rate_source(called) is own
    called.learning_rate = schedule  # and back, as the public setter does
    called.learning_rate = own
    assert keras_internals.rate_source(called) is own


def test_an_optimizer_keeps_averages_of_its_variables():
    a, b = variable([1.0]), variable([2.0])
    optimizer = stepped(keras.optimizers.SGD(0.5, use_ema=True), a, b)
    average = keras_internals.moving_average(optimizer, b)
    assert average.shape == b.shape and float(average[0]) == pytest.approx(1.5)


def test_values_in_place_of_gradients_are_assigned_and_taken_out():
    plain, scale = variable([1.0]), variable([2.0])
    scale.overwrite_with_gradient = True
    optimizer = keras.optimizers.SGD()
    optimizer.build([plain, scale])
    gradient, value = tf.constant([3.0]), tf.constant([4.0])
    gradients, variables = keras_internals.without_overwritten(
        optimizer, (gradient, value), (plain, scale)
    )
    assert len(gradients) == len(variables) == 1 and variables[0] is plain
    assert float(scale[0]) == 4.0


def test_variables_are_excluded_from_weight_decay():
    kept, left = variable([1.0], "kept"), variable([1.0], "bias")
    optimizer = keras.optimizers.AdamW()
    assert keras_internals.is_decayed(optimizer, kept)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([kept, left])
    assert keras_internals.is_decayed(optimizer, kept)
    assert not keras_internals.is_decayed(optimizer, left)


def test_optimizers_read_the_path_that_a_variable_is_given():
    w = variable([1.0])
    keras_internals.set_path(w, "block/embedding/w")
    assert w.path == "block/embedding/w"


# --- TensorFlow ----------------------------------------------------------------------


def test_a_function_is_of_the_class_that_is_called():
    assert "__call__" in vars(keras_internals.Function)


def test_a_function_is_made_again_without_xla():
    @tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
    def double(x):
        return 2 * x

    assert keras_internals.is_compiled(double)
    again = keras_internals.uncompiled(double)
    assert not keras_internals.is_compiled(again)
    assert float(again(tf.constant(2.0))) == 4.0
    assert again.python_function is double.python_function


def test_what_is_traced_knows_that_xla_compiles_it():
    seen = []

    @tf.function(jit_compile=True)
    def compiled(x):
        seen.append(keras_internals.in_xla())
        return x

    compiled(tf.constant(1.0))
    tf.function(lambda: seen.append(keras_internals.in_xla()))()
    assert seen == [True, False]


def test_the_global_seed_and_its_draws_are_known():
    tf.random.set_seed(7)
    assert keras_internals.global_seed() == 7
    draws = keras_internals.seed_draws()
    before = draws.getstate()
    tf.random.uniform([])
    assert draws.getstate() != before


def test_the_default_strategy_is_what_a_program_has_without_one():
    assert tf.distribute.get_strategy() is keras_internals.default_strategy()


def test_a_data_set_knows_what_it_is_made_from():
    source = tf.data.Dataset.range(3)
    assert keras_internals.inputs_of(source.batch(2))[0] is source
    assert keras_internals.inputs_of(source) == []


def test_a_data_set_that_shuffles_has_seeds():
    source = tf.data.Dataset.range(3)
    assert keras_internals.shuffle_seeds(source) is None
    tf.random.set_seed(1)
    seeds = keras_internals.shuffle_seeds(source.shuffle(3, seed=5))
    assert 5 in [int(tf.get_static_value(seed)) for seed in seeds]


def test_a_data_set_that_keeps_no_order_is_known():
    data = tf.data.Dataset.range(4)
    options = tf.data.Options()
    options.deterministic = False

    def free(**given):
        return data.map(lambda x: x, num_parallel_calls=2, **given)

    assert not keras_internals.is_unordered(free().batch(2))
    assert not keras_internals.is_unordered(free(deterministic=True).batch(2))
    assert keras_internals.is_unordered(free(deterministic=False).batch(2))
    assert keras_internals.is_unordered(free().with_options(options).batch(2))


def test_a_manager_is_told_of_checkpoints_that_it_has_not_written(tmp_path):
    checkpoint = tf.train.Checkpoint(w=tf.Variable(1.0))
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=2)
    for number in range(3):
        keras_internals.note_checkpoint(manager, f"ckpt-{number}")
    assert manager.latest_checkpoint == "ckpt-2"
    assert manager.checkpoints == ["ckpt-1", "ckpt-2"]
    keras_internals.note_checkpoint(manager, "ckpt-1")
    assert manager.latest_checkpoint == "ckpt-2"


@pytest.mark.parametrize(
    "name",
    [
        *("FileExists", "IsDirectory", "Stat", "HasAtomicMove", "CopyFile"),
        *("BufferedInputStream", "CreateDir", "DeleteFile", "DeleteRecursively"),
        *("GetChildren", "GetMatchingFiles", "RecursivelyCreateDir", "RenameFile"),
        "WritableFile",
    ],
)
def test_functions_for_files_are_looked_up_in_their_module(name):
    assert callable(getattr(keras_internals.file_io, name))


def test_gfile_calls_them_by_their_module(monkeypatch, tmp_path):
    monkeypatch.setattr(keras_internals.file_io, "IsDirectory", lambda path: "seen")
    assert tf.io.gfile.isdir(str(tmp_path)) == "seen"


@pytest.mark.parametrize("name", ["RecordIterator", "RandomRecordReader"])
def test_readers_of_records_are_looked_up_in_their_module(name):
    assert callable(getattr(keras_internals.record_io, name))


def test_data_sets_over_files_are_made_by_operations_with_these_names():
    from fdtcore.glue import file_data  # which names them all

    assert file_data
    assert keras_internals.load_dataset.__module__.endswith("load_op")
    for operation, argument in (
        (keras_internals.more_dataset_ops.save_dataset, "path"),
        (keras_internals.more_dataset_ops.save_dataset_v2, "path"),
        (keras_internals.io_ops.write_file, "filename"),
        (tf.profiler.experimental.start, "logdir"),
        (keras_internals.dataset_ops.cache_dataset, "filename"),
        (keras_internals.dataset_ops.cache_dataset_v2, "filename"),
        (keras_internals.more_dataset_ops.snapshot_dataset_v2, "path"),
    ):
        assert argument in inspect.signature(operation).parameters


def test_tables_read_their_file_by_an_operation_of_their_module():
    assert callable(keras_internals.lookup_ops.initialize_table_from_text_file_v2)
