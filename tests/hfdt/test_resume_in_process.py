"""One process that is interrupted and goes on, in each kind of data and of model.

A life ends by an exception in a callback, and the next one makes all anew.
"""

import contextlib
import os
import random
import shutil
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

from fdtcore.failures import JobError
from fdtcore.snapshots import position, tensor_file
from tests.hfdt.lives import LOSS, X, Y, live, network, same, state

pytestmark = pytest.mark.slow


def arrays(kill):
    model = network()
    model.compile("adam", LOSS, metrics=["accuracy", keras.metrics.AUC()])
    given = {"validation_split": 0.3, "batch_size": 10, "verbose": 0}
    return state(model, model.fit(X, Y, epochs=3, callbacks=[kill], **given), kill)


def averages(kill):
    model = network(built=True)
    adam = keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.9),
        use_ema=True,
        gradient_accumulation_steps=3,
        clipnorm=1.0,
    )
    model.compile(adam, LOSS, metrics=["mae"])
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    given = {"validation_data": (X, Y), "validation_freq": 2, "verbose": 0}
    history = model.fit(X, Y, 10, epochs=3, callbacks=[kill, swap], **given)
    return state(model, history, kill)


def mixed(kill):
    keras.config.set_dtype_policy("mixed_float16")
    model = network(built=True)
    model.compile("adam", LOSS, steps_per_execution=2)
    history = model.fit(X, Y, 8, epochs=3, callbacks=[kill], verbose=0)
    return state(model, history, kill)


class Pair(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = network(), keras.layers.Dense(1)
        self.for_one = keras.optimizers.SGD(0.05, momentum=0.9)
        self.for_two = keras.optimizers.RMSprop(0.01)

    def call(self, x, training=False):
        return self.one(x, training=training) + self.two(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_mean((y - self(x, training=True)) ** 2)
        for part, by in ((self.one, self.for_one), (self.two, self.for_two)):
            weights = part.trainable_variables
            by.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


def pair(kill):
    model = Pair()
    model.compile("sgd")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(50).batch(10)
    history = model.fit(data, epochs=3, callbacks=[kill], verbose=0)
    return state(model, history, kill, model.for_one, model.for_two)


def parts_of_a_pass(kill):
    model = network()
    model.compile("adam", LOSS)
    data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(50).batch(10)
    other = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(50).batch(20)
    given = {"validation_data": other, "steps_per_epoch": 3, "verbose": 0}
    history = model.fit(data.repeat(), epochs=5, callbacks=[kill], **given)
    again = model.fit(X, Y, 10, steps_per_epoch=2, epochs=3, verbose=0)
    return state(model, history, kill) | {"again": np.array(again.history["loss"])}


def unknown_length(kill):
    model = network()
    model.compile("adam", LOSS)
    data = tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda x, y: x[0] < 1)
    history = model.fit(data.batch(9), epochs=3, callbacks=[kill], verbose=0)
    return state(model, history, kill)


def test_every_sample_is_trained_once_an_epoch(tmp_path):
    def program(kill):
        model = keras.Sequential(
            [keras.Input((50,)), keras.layers.Dense(1, use_bias=False)]
        )
        model.compile(keras.optimizers.SGD(1.0), lambda y, p: p[:, 0], loss_weights=7.0)
        model.layers[0].kernel.assign(np.zeros((50, 1)))
        # Batches of 7 samples and one of 1: of each the mean, times 7.
        model.fit(
            np.eye(50, dtype="float32"),
            *(np.zeros((50, 1)), 7),
            epochs=3,
            callbacks=[kill],
            verbose=0,
        )
        return model.get_weights()[0][:, 0]

    expected = live(tmp_path / "one", program)
    for at in (2, 5, 9, 14, 20):
        live(tmp_path / "lives", program, at=at)
    found = live(tmp_path / "lives", program)
    np.testing.assert_array_equal(found, expected)
    # Each visit takes 1 off a weight; in the batch of one sample, 7. Keras's seeded
    # shuffle has the same order in each epoch.
    assert sorted(np.unique(np.round(found))) == [-21, -3]


class Rows(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        noise = np.random.normal(size=(10, 6)).astype("float32")
        return X[10 * i : 10 * i + 10] + noise, Y[10 * i : 10 * i + 10]


def rows(kill):
    model = network()
    model.compile("adam", LOSS)
    history = model.fit(Rows(), epochs=3, shuffle=True, callbacks=[kill], verbose=0)
    return state(model, history, kill)


class Drawing(keras.utils.PyDataset):
    """Draws in all that it does, and shuffles what it has shuffled before."""

    def __init__(self, **options):
        super().__init__(**options)
        self.order, self.made = np.arange(50), []

    def __len__(self):
        return 7

    def __getitem__(self, i):
        self.made.append(i)
        rows = self.order[7 * i : 7 * i + 7]
        noise = np.random.normal(size=(len(rows), 6)) * random.random()
        return X[rows] + noise.astype("float32"), Y[rows]

    def on_epoch_begin(self):
        self.order = np.roll(self.order, random.randrange(9))

    def on_epoch_end(self):
        np.random.shuffle(self.order)


def drawing(kill, *, options=(), data=None, epochs=4):
    model = network()
    model.compile("adam", LOSS)
    data = Drawing() if data is None else data
    given = {"callbacks": [kill], "verbose": 0, **dict(options)}
    history = model.fit(data, epochs=epochs, **given)
    again = model.fit(data, epochs=2, verbose=0)
    found = state(model, history, kill) | {"again": np.array(again.history["loss"])}
    return found | {"order": data.order, "next": random.random()}


def drawing_in_turn(kill):
    return drawing(kill, options={"shuffle": False, "class_weight": {0: 1.0, 1: 3.0}})


class Still(Drawing):
    """As ``Drawing``, but its hooks do nothing: they come while others read."""

    def on_epoch_begin(self):
        pass

    def on_epoch_end(self):
        pass


def drawing_in_parts_of_a_pass(kill):
    return drawing(kill, options={"steps_per_epoch": 4}, data=Still(), epochs=5)


def drawing_without_end(kill):
    class Endless(Still):
        num_batches = None

        def __getitem__(self, i):
            return super().__getitem__(i % 7)

    model = network()
    model.compile("adam", LOSS, steps_per_execution=2)
    given = {"callbacks": [kill], "steps_per_epoch": 4, "verbose": 0}
    history = model.fit(Endless(), epochs=4, **given)
    return state(model, history, kill) | {"draw": 0}  # it is read ahead


def stream(kill):
    def batches():
        for i in range(100):
            yield X[i % 7 :: 7], Y[i % 7 :: 7]

    model = network()
    model.compile("adam", LOSS)
    source = batches()
    given = {"steps_per_epoch": 5, "callbacks": [kill], "verbose": 0}
    return state(model, model.fit(source, epochs=3, **given), kill)


def dictionaries(kill):
    one, two = keras.Input((6,), name="one"), keras.Input((6,), name="two")
    joined = keras.layers.Concatenate()([one, two])
    first = keras.layers.Dense(1)(keras.layers.Dropout(0.2)(joined))
    outputs = [first, keras.layers.Dense(2)(joined)]
    model = keras.Model({"one": one, "two": two}, outputs)
    model.compile("adam", ["mse", "mae"])
    data, targets = {"one": X, "two": X[::-1]}, [Y, X[:, :2]]
    weights = np.linspace(0.5, 1.5, len(X)).astype("float32")
    given = {"sample_weight": weights, "shuffle": "batch", "verbose": 0}
    history = model.fit(data, targets, 7, epochs=3, callbacks=[kill], **given)
    return state(model, history, kill)


def eager(kill):
    model = network()
    model.compile("adamw", LOSS, run_eagerly=True, weighted_metrics=["accuracy"])
    given = {"class_weight": {0: 1.0, 1: 2.0}, "verbose": 0}
    history = model.fit(X, Y, 10, epochs=3, callbacks=[kill], **given)
    return state(model, history, kill)


PROGRAMS = (
    *(arrays, pair, parts_of_a_pass, rows, stream, drawing),
    *(
        pytest.param(program, marks=pytest.mark.long)
        for program in (
            *(averages, mixed, unknown_length, dictionaries, eager),
            *(drawing_in_turn, drawing_in_parts_of_a_pass, drawing_without_end),
        )
    ),
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_lives_end_as_one_life(program, tmp_path):
    expected = live(tmp_path / "one", program)
    # The last one behind an epoch's batches, in its validation where it has one.
    has_test = program in (arrays, averages, parts_of_a_pass)
    for at in (1, 5, 6, 9, "test 3" if has_test else "epoch 2"):
        live(tmp_path / "lives", program, at=at)
    same(live(tmp_path / "lives", program), expected)
    assert expected["seen"].size > 6
    # All is over: nothing is trained any more.
    same(live(tmp_path / "lives", program, at=1), expected)


def compressed(kill):
    wide = keras.layers.Dense(200, activation="relu")
    model = keras.Sequential([wide, keras.layers.Dense(8), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05, 0.9), LOSS)
    given = {"batch_size": 10, "callbacks": [kill], "verbose": 0}
    return state(model, model.fit(X, Y, epochs=3, **given), kill)


@pytest.mark.parametrize(
    "compression", ["dgc:0.05,warmup=2", "powersgd:2,start=2", "sign"]
)
def test_what_was_not_sent_is_kept(compression, tmp_path):
    expected = live(tmp_path / "one", compressed, compression=compression)
    plain = live(tmp_path / "plain", compressed)
    moved = [n for n in expected if not np.array_equal(expected[n], plain[n])]
    assert moved  # else nothing was compressed
    for at in (3, 4, 9, "epoch 1"):
        live(tmp_path / "lives", compressed, at=at, compression=compression)
    same(live(tmp_path / "lives", compressed, compression=compression), expected)


def test_another_compression_does_not_go_on(tmp_path):
    live(tmp_path / "lives", compressed, at=4, compression="topk:0.05")
    with pytest.raises(JobError, match=r"compression"):
        live(tmp_path / "lives", compressed, compression="topk:0.01")


READ = {
    "in one thread": {},
    "in threads": {"workers": 2},
    "in processes": {"workers": 2, "use_multiprocessing": True},
}


@pytest.mark.parametrize(
    "how",
    [
        "in one thread",
        pytest.param("in threads", marks=pytest.mark.long),
        "in processes",
    ],
)
def test_batches_of_a_py_dataset_that_were_trained_are_not_made_again(how, tmp_path):
    class Plain(Drawing):
        def on_epoch_begin(self):
            pass  # others read already

        def __getitem__(self, i):
            # What a life has left behind may read on for a while.
            (tmp_path / f"{self.life}-{len(list(tmp_path.iterdir()))}-{i}").touch()
            rows = self.order[7 * i : 7 * i + 7]
            return X[rows], Y[rows]

    def program(kill):
        random.seed(3)
        data = Plain(**READ[how])
        data.life = life
        return drawing(kill, data=data, epochs=2)

    def made():
        return len(list(tmp_path.glob(f"{life}-*")))

    life = "one"
    expected = live(tmp_path / "s" / "one", program)
    # Keras looks at two batches to know their types, and so in the second fit.
    assert made() == 2 + 2 * 7 + 2 + 2 * 7
    life = "killed"
    live(tmp_path / "s" / "lives", program, at=12)
    life = "going on"
    same(live(tmp_path / "s" / "lives", program), expected)
    assert made() == 2 + 3 + 2 + 2 * 7


def callbacks(kill, folder):
    model = network()
    model.compile("adam", LOSS)
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", min_delta=0.001, patience=2, restore_best_weights=True
    )
    others = (
        keras.callbacks.ReduceLROnPlateau("val_loss", 0.5, patience=1, min_delta=0.01),
        keras.callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True),
        keras.callbacks.CSVLogger(folder / "log.csv"),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
    )
    history = model.fit(
        *(X, Y, 10),
        epochs=8,
        validation_data=(X[:20], Y[:20]),
        callbacks=[kill, stopping, *others],
        verbose=0,
    )
    found = state(model, history, kill)
    plateau, checkpoint = others[:2]
    found["decisions"] = np.array(
        [
            *(
                stopping.best,
                stopping.wait,
                stopping.best_epoch,
                stopping.stopped_epoch,
            ),
            *(plateau.best, plateau.wait, checkpoint.best, stopping.min_delta),
        ]
    )
    best = keras.models.load_model(folder / "best.keras").get_weights()
    rows = np.array((folder / "log.csv").read_bytes())
    return found | {f"best {i}": w for i, w in enumerate(best)} | {"rows": rows}


def test_callbacks_decide_as_in_one_life(tmp_path):
    def program(name):
        (tmp_path / name).mkdir(exist_ok=True)
        return lambda kill: callbacks(kill, tmp_path / name)

    expected = live(tmp_path / "a", program("one"))
    for at in (3, 12, 18, 26):
        live(tmp_path / "b", program("lives"), at=at)
    same(live(tmp_path / "b", program("lives")), expected)


def test_what_a_script_does_not_seed_is_as_in_its_first_life(tmp_path):
    live(tmp_path, arrays, at=7, seed=None)
    found = live(tmp_path, arrays, seed=None)
    again = live(tmp_path, arrays, seed=None)  # nothing is trained
    same(again, found)
    assert not np.array_equal(
        live(tmp_path / "other", arrays, seed=None)["loss"], found["loss"]
    )


def test_what_a_callback_cannot_keep_is_named_once(tmp_path, capfd):
    def program(kill):
        kill.plots = [object()]
        return arrays(kill)

    live(tmp_path, program)
    said = capfd.readouterr().err
    assert said.count("Kill.plots (object) is not kept in snapshots") == 1


def test_lists_and_dicts_of_callbacks_are_filled_in_place(tmp_path):
    def program(kill):
        losses = kill.seen = []
        return arrays(kill), losses

    live(tmp_path, program, at=9)
    found, losses = live(tmp_path, program)
    assert losses == list(found["seen"])


def test_a_pipeline_without_an_order_goes_on_at_the_beginning_of_an_epoch(
    tmp_path, capfd
):
    def program(kill):
        options = tf.data.Options()
        options.deterministic = False
        data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(10)
        model = network(built=True)
        model.compile("adam", LOSS)
        data = data.with_options(options)
        history = model.fit(data, epochs=3, callbacks=[kill], verbose=0)
        return kill.batches, history.epoch

    live(tmp_path, program, at=8)
    assert live(tmp_path, program) == (15, [0, 1, 2])
    said = capfd.readouterr().err
    assert "snapshots are of the beginning of its epochs" in said
    assert "goes on in fit 1, epoch 2, batch 1." in said


def test_steps_by_hand_are_made_again_and_that_is_said(tmp_path, capfd):
    def program(kill):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        for _ in range(2):
            model.train_on_batch(X, Y)
        before = model.get_weights()[0]
        model.fit(X, Y, 10, verbose=0, callbacks=[kill])
        return before, model.get_weights()[0]

    live(tmp_path, program, at=3)
    assert capfd.readouterr().err.count("steps outside of fit are not kept") == 1
    found = live(tmp_path, program)
    np.testing.assert_array_equal(found, live(tmp_path / "one", program))


def test_the_launcher_sees_the_place_behind_a_first_step(tmp_path):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(position.read(tmp_path))

    def program(kill):
        model = network()
        model.compile("adam", LOSS)
        model.fit(X, Y, 10, epochs=2, callbacks=[kill, Look()], verbose=0)

    live(tmp_path, program, at=7)
    assert seen[0] is None
    assert [at[:3] for at in seen[1:]] == [
        *((1, 0, step) for step in range(1, 6)),
        (1, 1, 1),
    ]
    seen.clear()
    live(tmp_path, program)
    assert seen[0][:3] == (1, 1, 1)  # that of the life before: it has made no step


def test_a_folder_that_vanishes_ends_no_training(tmp_path, capfd):
    def program(kill):
        class Remove(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                kill.wait()
                shutil.rmtree(tmp_path / "s", ignore_errors=True)

        model = network()
        model.compile("adam", LOSS)
        given = {"callbacks": [Remove(), kill], "verbose": 0}
        return model.fit(X, Y, 10, epochs=3, **given).history["loss"]

    assert len(live(tmp_path / "s", program)) == 3
    assert capfd.readouterr().err.count("could not be written") == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root mounts a disk, where it may")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_ends_no_training_and_leaves_the_snapshots_that_there_are(
    small_disk, capfd
):
    def program(kill, fill=True):
        class Fill(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                if fill and kill.batches == 7:
                    with contextlib.suppress(OSError):
                        (small_disk / "other").write_bytes(bytes(1 << 20))

        model = network()
        model.compile("adam", LOSS)
        given = {"callbacks": [kill, Fill()], "verbose": 0}
        return state(model, model.fit(X, Y, 10, epochs=3, **given), kill)

    expected = live(small_disk / "s", program)
    said = capfd.readouterr().err
    assert said.count("\n") == said.count("No space left on device") == 1, said
    kept = sorted(path.name for path in (small_disk / "s").iterdir())
    assert len([name for name in kept if "safetensors" in name]) == 2, kept
    os.truncate(small_disk / "other", 0)
    same(live(small_disk / "s", lambda kill: program(kill, fill=False)), expected)
    assert "goes on in fit 1, epoch 2, batch 3." in capfd.readouterr().err


def fitting(x=X, batch_size=10, callbacks=(), epochs=3, layers=()):
    def program(kill):
        model = network()
        for layer in layers:
            model.add(layer())
        model.compile("adam", LOSS, metrics=["accuracy", keras.metrics.AUC()])
        given = {"validation_split": 0.3, "verbose": 0, "epochs": epochs}
        return model.fit(x, Y, batch_size, callbacks=[kill, *callbacks], **given)

    return program


def newer(folder):
    for path in folder.glob("*.safetensors"):
        content = tensor_file.read(path)
        content.about["format"] += 1
        tensor_file.write(path, content)


def spoil_all(folder):
    for path in folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])


REFUSED = {
    "another model": (fitting(layers=[lambda: keras.layers.Dense(1)]), {}, "kernel"),
    "other data": (fitting(x=X + 1), {}, "data '50x6 float32 "),
    "fewer data": (fitting(x=X[:40]), {}, "data '50x6 float32 "),
    "another batch size": (
        fitting(batch_size=5),
        {},
        "batch_size '10' there, '5' here",
    ),
    "other callbacks": (
        fitting(callbacks=[keras.callbacks.TerminateOnNaN()]),
        {},
        "callbacks ['Kill'] there, ['Kill', 'TerminateOnNaN'] here",
    ),
    "too few epochs": (fitting(epochs=1), {}, "come to epoch 2 there, and has 1 here"),
    "another option": (arrays, {"accumulate": 2}, "accumulate 1, and here is 2"),
    "no resume": (arrays, {"resume": ""}, "must be empty when a job begins"),
    "a newer format": (arrays, {"act": newer}, "must be of format 1"),
    "only damaged ones": (
        arrays,
        {"act": spoil_all, "resume": "the folder"},
        "which has no whole one",
    ),
    "a folder without any": (
        arrays,
        {"act": shutil.rmtree, "resume": "the folder"},
        "which is not there",
    ),
}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    live(folder, fitting(), at=6)
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_of_another_program_is_refused_in_one_line(case, interrupted, tmp_path):
    program, options, text = REFUSED[case]
    folder = tmp_path / "s"
    shutil.copytree(interrupted, folder)
    options = dict(options)
    options.pop("act", lambda folder: None)(folder)
    if options.get("resume"):
        options |= {"resume": str(folder), "snapshot": ""}
    with pytest.raises((ValueError, JobError)) as caught:
        live(folder, program, **options)
    line = str(caught.value)
    assert text in line
    assert "\n" not in line
    assert "Received: " in line
