"""Loops by hand in one process that is interrupted and goes on.

A life ends by an exception in the body of a loop, and the next one makes all anew.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fdtcore.glue import binding
from tests.hfdt.lives import LOSS, Killed, X, Y, live, network, same

pytestmark = pytest.mark.slow
DATA = tf.data.Dataset.from_tensor_slices((X, Y))


def die(kill):
    """Ends a life in the body of a loop, where it is to end."""
    kill.wait()
    kill.batches += 1
    if kill.at == kill.batches:
        raise Killed


def values(name, *holders):
    found = [v.numpy() for holder in holders for v in holder.variables]
    return {f"{name} {i}": value for i, value in enumerate(found)}


def stepping(model, optimizer, total):
    loss_of = keras.losses.get(LOSS)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(loss_of(y, model(x, training=True)))
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        total.update_state(loss)

    return step


def by_hand(kill, make=lambda: keras.optimizers.Adam(0.01), data=None, epochs=3):
    """A model that is made in the first step, and a metric that begins anew."""
    data = data or DATA.shuffle(50, seed=3).batch(10)
    model, optimizer, total = network(), make(), keras.metrics.Mean()
    step, found = stepping(model, optimizer, total), {}
    for epoch in range(epochs):
        total.reset_state()
        for x, y in data:
            step(x, y)
            die(kill)
        found[f"total {epoch}"] = total.result().numpy()
        found |= values(epoch, model)
        found[f"draw {epoch}"] = np.random.rand()
    return found | values("end", model, optimizer)


def scaled(kill):
    keras.config.set_dtype_policy("mixed_float16")

    def make():
        inner = keras.optimizers.SGD(0.01, momentum=0.9, use_ema=True)
        return keras.optimizers.LossScaleOptimizer(inner, dynamic_growth_steps=4)

    return by_hand(kill, make)


def accumulating(kill):
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.9)
    given = {"gradient_accumulation_steps": 3}
    return by_hand(kill, lambda: keras.optimizers.RMSprop(rate, **given))


def adversaries(kill):
    """Two models with an optimizer each, which draw what they are trained on."""
    maker = keras.Sequential([keras.layers.Dense(6)])
    judge = network()
    for_maker, for_judge = keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.05)

    @tf.function
    def step(x):
        noise = keras.random.normal((10, 4), seed=seeds)
        with tf.GradientTape(persistent=True) as tape:
            made = maker(noise)
            wrong = tf.reduce_mean(judge(made, training=True))
            right = tf.reduce_mean(judge(x, training=True))
            apart = wrong - right
        for one, optimizer, goal in (
            (maker, for_maker, wrong),
            (judge, for_judge, apart),
        ):
            gradients = tape.gradient(goal, one.trainable_variables)
            optimizer.apply(gradients, one.trainable_variables)

    seeds = keras.random.SeedGenerator(3)
    data = tf.data.Dataset.from_tensor_slices(X).shuffle(50).batch(10)
    for _ in range(3):
        for x in data:
            step(x)
            die(kill)
    return values("end", maker, judge, for_maker, for_judge)


def folds(kill):
    """A new model for each fold, a fit of it in the end, and a loop behind that."""
    found = {}
    for fold in range(2):
        model, optimizer, total = (
            network(),
            keras.optimizers.Adam(),
            keras.metrics.Mean(),
        )
        step = stepping(model, optimizer, total)
        for _ in range(2):
            for x, y in DATA.skip(20 * fold).take(20).shuffle(20).batch(5):
                step(x, y)
                np.random.rand()
                die(kill)
        found[f"draw {fold}"] = np.random.rand()
        found |= values(f"fold {fold}", model, optimizer, total)
        model.compile("sgd", LOSS)
        given = {"callbacks": [kill], "verbose": 0}
        history = model.fit(X, Y, 10, epochs=1, **given)
        found |= values(f"fit {fold}", model)
        found[f"loss {fold}"] = np.array(history.history["loss"])
    return found


def by_keras(kill):
    """``train_on_batch`` makes the steps."""
    model = network()
    model.compile("adam", LOSS)
    for _ in range(3):
        for x, y in DATA.shuffle(50, seed=3).batch(10):
            model.train_on_batch(x, y)
            die(kill)
    return values("end", model, model.optimizer)


PROGRAMS = (
    folds,
    *(
        pytest.param(program, marks=pytest.mark.long)
        for program in (by_hand, scaled, accumulating, adversaries, by_keras)
    ),
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_lives_end_as_one_life(program, tmp_path):
    expected = live(tmp_path / "one", program)
    for at in (1, 4, 5, 9):
        live(tmp_path / "lives", program, at=at)
    same(live(tmp_path / "lives", program), expected)
    # All is over: nothing is trained any more.
    same(live(tmp_path / "lives", program), expected)


def test_loops_that_were_over_run_with_one_batch(tmp_path, capfd):
    def program(kill):
        by_hand(kill, epochs=4)
        return kill.batches

    live(tmp_path, program, at=13)
    capfd.readouterr()
    # Of loops 1 and 2 one each; of loop 3 the one before the place, and the rest.
    assert live(tmp_path, program) == 1 + 1 + 4 + 5
    said = capfd.readouterr().err
    assert said.count("run with one batch each, and leave what they left") == 1
    assert "goes on in loop 3, batch 3." in said, said


def test_a_pipeline_without_an_order_goes_on_behind_a_loop(tmp_path, capfd):
    options = tf.data.Options()
    options.deterministic = False

    def program(kill):
        by_hand(kill, data=DATA.batch(10).with_options(options))
        return kill.batches

    live(tmp_path, program, at=8)
    assert "snapshots are of the end of its loops" in capfd.readouterr().err
    assert live(tmp_path, program) == 1 + 5 + 5


def test_loops_over_several_data_sets_run_again(tmp_path, capfd):
    def program(kill):
        model = network()
        step = stepping(model, keras.optimizers.Adam(0.01), keras.metrics.Mean())
        for x, y in tf.data.Dataset.zip(
            tf.data.Dataset.from_tensor_slices(X), tf.data.Dataset.from_tensor_slices(Y)
        ).batch(10):
            step(x, y)
        for (x, _), (_, y) in zip(DATA.batch(10), DATA.batch(10), strict=True):
            step(x, y)
            die(kill)
        return values("end", model)

    expected = live(tmp_path / "one", program)
    live(tmp_path / "lives", program, at=3)
    assert "over several data sets at once is not kept" in capfd.readouterr().err
    same(live(tmp_path / "lives", program), expected)


def test_the_oldest_ends_of_too_many_loops_are_removed(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("fdtcore.snapshots.folder._LOOPS_BYTES", 12_000)
    live(tmp_path, by_hand, at=14)
    assert capfd.readouterr().err.count("the oldest are removed") == 1
    assert [p.name for p in tmp_path.glob("loop-*")] == ["loop-0001-0002.safetensors"]
    expected = live(tmp_path / "one", by_hand)
    found = live(tmp_path, by_hand)
    assert "the end of loop 1 is not kept" in capfd.readouterr().err
    later = {k: v for k, v in expected.items() if k.split()[0] not in ("0", "draw")}
    del later["total 0"]
    same({k: found[k] for k in later}, later)


def test_other_loops_are_refused(tmp_path):
    live(tmp_path, by_hand, at=8)

    def longer(kill):
        return by_hand(kill, data=DATA.shuffle(50, seed=3).batch(7))

    def larger(kill):
        one = keras.Sequential([keras.layers.Dense(3)])
        one.build((None, 2))
        return by_hand(kill), one

    def none(kill):
        model = network()
        model.compile("adam", LOSS)
        model.fit(X, Y, verbose=0)

    for program, reason in (
        (longer, "loop 2 has 5 batches there, 8 here"),
        (larger, "loop 1 has variables with"),
        (none, "it is of loop 2 before fit 1 there, and 0 loops came before it here"),
    ):
        with pytest.raises(ValueError, match=reason):
            live(tmp_path, program)


def test_data_of_a_loop_that_evaluates_is_left_alone(tmp_path):
    def program(kill):
        total = sum(float(tf.reduce_sum(x)) for x, _ in DATA.batch(10))
        for x, _ in DATA.batch(10):
            total += float(tf.reduce_sum(x))
        assert binding.context().loops.now is None
        return total, by_hand(kill)["total 2"]

    expected = live(tmp_path / "one", program)
    live(tmp_path / "lives", program, at=7)
    assert live(tmp_path / "lives", program) == expected
