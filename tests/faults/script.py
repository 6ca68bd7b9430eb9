"""A small fit in which something happens: ``script.py WHERE WHAT [WHO]``.

WHERE is a moment of the script, WHAT is done there, WHO the rank that does it; all of
them where it is left out. The moment is printed by rank 0, for who acts from outside.
"""

import atexit
import builtins
import os
import signal
import sys
import threading
import time

WHERE, WHAT, WHO = (*sys.argv[1:], "", "", "")[:3]
RANK = os.environ.get("OMPI_COMM_WORLD_RANK", "0")
if WHERE == "handler":
    signal.signal(signal.SIGINT, lambda number, frame: sys.exit(5))
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(5))

import keras  # noqa: E402
import numpy as np  # noqa: E402

# Something is done from outside, where nothing is done here.
EPOCHS = 3 if WHAT or WHERE == "none" else 20 if WHERE == "short" else 400


class NoText(Exception):
    """Its text cannot be made."""

    def __str__(self):
        raise RuntimeError("no text")


def deep():
    """Never ends by itself."""
    return deep() + 1


def raise_(error):
    raise error


def wait():
    while True:
        time.sleep(0.05)


def fork():
    """A child ends by ``sys.exit``, and runs the hooks that it has inherited."""
    child = os.fork()
    if not child:
        sys.exit(int(WHAT.removeprefix("fork")))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f"the child of rank {RANK} ended with {code}", flush=True)


def spawn():
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(abs, [-3]) == [3]


def move():
    os.makedirs("elsewhere", exist_ok=True)
    os.chdir("elsewhere")
    if RANK == "0":
        os.rmdir(os.getcwd())


ACTS = {
    "exit3": lambda: sys.exit(3),
    "exit0": lambda: sys.exit(0),
    "exittext": lambda: sys.exit("a text of the script"),
    "atonce3": lambda: os._exit(3),
    "raise": lambda: raise_(LookupError("no such label: 7")),
    "memory": lambda: raise_(MemoryError()),
    "notext": lambda: raise_(NoText()),
    "group": lambda: raise_(builtins.ExceptionGroup("several", [ValueError("a")])),
    "deep": deep,
    "missing": lambda: open("/nowhere/at/all"),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": os.abort,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "wait": wait,
    "fork0": fork,
    "fork3": fork,
    "print": lambda: print("many words " * 100_000),
    "input": lambda: input(),
    "spawn": spawn,
    "chdir": move,
    "daemon": lambda: threading.Thread(target=wait, daemon=True).start(),
}


def at(where):
    """A moment of the script."""
    if RANK == "0":
        print(f"at {where}", flush=True)
    if where == WHERE and WHAT in ACTS and WHO in ("", RANK):
        ACTS[WHAT]()


class Moments(keras.callbacks.Callback):
    """Tells of moments in a fit."""

    steps = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.steps += 1
        if self.steps == 3:
            at("step")

    def on_train_batch_end(self, batch, logs=None):
        if EPOCHS > 3:
            time.sleep(0.05)

    def on_test_begin(self, logs=None):
        at("validation")
        if EPOCHS > 3:
            time.sleep(0.2)

    def on_epoch_end(self, epoch, logs=None):
        assert np.isfinite(logs["val_loss"])
        at("callback")


class Model(keras.Sequential):
    def train_step(self, data):
        at("tracing")
        return super().train_step(data)


def main():
    at("top")
    atexit.register(at, "atexit")
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(96, 3)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    if WHAT == "nan":
        y[:] = np.nan
    if WHAT == "shape":
        y = y[:90]
    dtype = "complex64" if WHAT == "complex" else None
    layers = [keras.Input((3,)), keras.layers.Dense(1)]
    if dtype:
        layers.append(Spectrum())
    model = Model(layers)
    if WHAT != "nocompile":
        model.compile("sgd" if WHAT != "optimizer" else "nosuch", "mse")
    try:
        model.fit(
            x,
            y,
            batch_size=4,
            epochs=EPOCHS,
            verbose=0,
            validation_data=(x, y),
            callbacks=[Moments()],
        )
    except KeyboardInterrupt:
        if WHERE != "except":
            raise
    at("after")
    print("trained", flush=True)


class Spectrum(keras.layers.Layer):
    """Has a complex variable."""

    def build(self, shape):
        self.kernel = self.add_weight(
            shape=(shape[-1], 1), dtype="complex64", initializer="zeros", name="kernel"
        )

    def call(self, x):
        values = keras.ops.convert_to_tensor(x)
        return keras.ops.real(
            keras.ops.matmul(keras.ops.cast(values, "complex64"), self.kernel)
        )


if __name__ == "__main__":  # a process that it spawns imports it
    main()
