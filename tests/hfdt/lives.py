"""Lives of a program in one process: each ends by an exception, the next goes on."""

import math
import signal

import keras
import numpy as np

from fdtcore.control.control_line import ControlLine
from fdtcore.glue import bind, generator_state, loops
from fdtcore.process import Process
from hfdt import snapshots
from hfdt.collectives import HorovodCollectives
from hfdt.communicator import HorovodCommunicator
from hfdt.engine import HorovodEngine
from hfdt.options import Options

rng = np.random.default_rng(0)
X = rng.normal(size=(50, 6)).astype("float32")
Y = (X[:, :1] * X[:, 1:2] > 0).astype("float32")
LOSS = "binary_crossentropy"


class Killed(BaseException):
    """The end of a life."""


class Kill(keras.callbacks.Callback):
    """Ends a life, and remembers what a user's callback would."""

    # Of the class: what an object holds comes back from a snapshot.
    at, snapshots = 0, None

    def __init__(self):
        super().__init__()
        self.batches, self.tests, self.seen = 0, 0, []

    @classmethod
    def wait(cls):
        """Waits until the newest snapshot is on the disk."""
        cls.snapshots._writer.wait()

    def on_train_batch_begin(self, batch, logs=None):
        self.wait()  # so that there is one before each step

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        self.seen.append(logs["loss"])
        if self.at == self.batches:
            raise Killed

    def on_test_batch_end(self, batch, logs=None):
        self.tests += 1
        if self.at == f"test {self.tests}":
            raise Killed

    def on_epoch_end(self, epoch, logs=None):
        if self.at == f"epoch {epoch}":
            raise Killed


def live(folder, program, at=0, seed=5, **options):
    """Runs a program in a process's stead; returns what it has come to."""
    keras.utils.clear_session()
    keras.config.set_dtype_policy("float32")
    process = Process()
    line = ControlLine(process, lambda text: text, stall_timeout_s=math.inf)
    wanted = {"snapshot": str(folder), "snapshot_every": "1steps", "resume": "auto"}
    options = Options(**{**wanted, **options})
    collectives = HorovodCollectives(process, HorovodCommunicator(0, 1), line)
    engine = HorovodEngine(collectives, options, line)
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    with bind.lent(engine):
        loops.install()
        begun = snapshots.begin(engine, options, "")
        own = Kill.snapshots = engine.strategy.snapshots
        try:
            generator_state.seed_all(lambda bits: begun % 2**bits)
            if seed is not None:
                keras.utils.set_random_seed(seed)
            Kill.at = at
            return program(Kill())
        except Killed:
            return None
        finally:
            own._writer.wait()
            own._store.close()
            for number, handler in before.items():
                signal.signal(number, handler)


def state(model, history, kill, *others):
    variables = [v for o in (model, model.optimizer, *others) for v in o.variables]
    logs = {name: np.array(values) for name, values in history.history.items()}
    extra = {"epoch": history.epoch, "seen": kill.seen, "draw": np.random.rand()}
    return {
        **{f"variable {i}": v.numpy() for i, v in enumerate(variables)},
        **{name: np.array(v) for name, v in {**logs, **extra}.items()},
    }


def same(found, expected):
    assert found.keys() == expected.keys()
    wrong = [n for n, v in expected.items() if not np.array_equal(v, found[n])]
    assert not wrong


def network(*, built=False):
    first = [keras.Input((6,))] if built else []
    return keras.Sequential(
        [
            *first,
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
