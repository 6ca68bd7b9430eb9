"""Jobs of functions, as programs start them: ``python function_jobs.py WHAT``.

Prints one line of JSON. With ``train`` under ``hfdt run`` it is the script that the
function is compared with.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import sys
import time

import numpy as np

import hfdt
import nfdt


class Point:
    """Of the program itself: travels by value, both ways."""

    def __init__(self, x):
        self.x = x


def train(epochs=2):
    """Trains on 70 samples in batches of 16; returns losses and weights."""
    import keras

    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(70, 8)).astype("float32")
    layers = [keras.layers.Input((8,)), keras.layers.Dense(4), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    history = model.fit(x, x[:, :1], 16, epochs, verbose=2)
    weights = np.concatenate([w.ravel() for w in model.get_weights()])
    return history.history["loss"], hashlib.sha256(weights).hexdigest()


def explicit():
    """Trains by ``distribute``, under options of the job."""
    import keras

    from hfdt import runtime

    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
    hfdt.distribute(model, keras.optimizers.SGD(0.01), "mse")
    model.fit(np.ones((8, 8)), np.ones((8, 1)), 4, verbose=0)
    options = runtime.engine().strategy.options
    return options.batch, options.lr_scale


def results():
    """Closures, lambdas, classes of the program, large arrays; what is printed."""
    import tensorflow  # noqa: F401 (the jobs begin without it)

    factor, size = 3, 12_500_000
    shown = io.StringIO()

    def function(point, more):
        print("rank", hfdt.rank(), "says ü", sys.argv[1:])
        array = np.full(size, hfdt.rank(), "float64")
        return hfdt.rank(), Point(factor * point.x), more(2), array, train()

    with contextlib.redirect_stdout(shown):
        found = hfdt.run(function, (Point(2), lambda x: x + 1))
    return {
        "ranks": [one[0] for one in found],
        "points": [isinstance(one[1], Point) and one[1].x for one in found],
        "lambdas": [one[2] for one in found],
        "sums": [float(one[3].sum()) for one in found],
        "megabytes": found[1][3].nbytes / 1e6,
        "trained": [one[4] for one in found],
        "shown": shown.getvalue(),
    }


def fails(how, rank=1, module=hfdt):
    """Lets a rank fail, and returns what is raised here."""

    def function():
        if module.rank() == rank:
            if how == "raise":
                {}["what the rank lacks"]
            if how == "exit":
                sys.exit(3)
            if how == "lock":
                import threading

                return threading.Lock()
            os.kill(os.getpid(), signal.SIGKILL)
        module.barrier()
        return module.rank()

    kind = {"np": 1} if rank == 0 else {}
    try:
        found = module.run(function, **kind)
    except hfdt.RunError as error:
        return [
            str(error),
            error.rank,
            error.host == os.uname().nodename,
            error.exit_code,
        ]
    return found


def endless():
    """Trains until it is interrupted; says so."""

    def function():
        import keras

        class Slow(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                print("epoch", epoch, flush=True)

            def on_batch_end(self, batch, logs=None):
                time.sleep(0.05)

        model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        x = np.ones((64, 8))
        model.fit(x, x[:, :1], 16, 5000, verbose=0, callbacks=[Slow()])

    module = {"hfdt": hfdt, "nfdt": nfdt}[sys.argv[2]]
    try:
        module.run(function, np=int(sys.argv[3]))
    except KeyboardInterrupt:
        return "interrupted"


def served():
    """Workers that train through a server, in two jobs."""
    options = nfdt.Options(algorithm="asgd", servers=2)
    trained = nfdt.run(lambda: (nfdt.rank(), nfdt.size(), train()[0]), options=options)
    return [one[:2] for one in trained], [one[2][-1] < one[2][0] for one in trained]


def in_a_thread():
    """A job of one process, started by another thread than the main one."""
    import threading

    found = []
    thread = threading.Thread(target=lambda: found.extend(hfdt.run(train, np=1)))
    thread.start()
    thread.join()
    return found


WHAT = {
    "train": train,
    "explicit": lambda: hfdt.run(explicit, batch="per_worker", lr_scale=2),
    "results": results,
    "raise": lambda: fails("raise"),
    "raise alone": lambda: fails("raise", 0),
    "exit": lambda: fails("exit"),
    "exit alone": lambda: fails("exit", 0),
    "kill": lambda: fails("kill"),
    "kill alone": lambda: fails("kill", 0),
    "lock": lambda: fails("lock"),
    "worker raises": lambda: fails("raise", module=nfdt),
    "worker is lost": lambda: fails("kill", module=nfdt),
    "endless": endless,
    "served": served,
    "thread": in_a_thread,
}

if __name__ == "__main__":
    print("\n" + json.dumps(WHAT[sys.argv[1]]()), flush=True)
