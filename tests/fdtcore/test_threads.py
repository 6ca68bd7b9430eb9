"""Two threads that train at once end the process, whoever catches what they raise."""

import sys

from tests import processes

PROGRAM = """
import concurrent.futures, threading
from fdtcore import threads

met = threading.Barrier(2, timeout=20)

def fit():
    with threads.one_at_a_time("fit"):
        with threads.one_at_a_time("evaluate"):  # inside, in the same thread
            pass
        {meet}

with concurrent.futures.ThreadPoolExecutor({workers}) as pool:
    for one in [pool.submit(fit) for _ in range(2)]:
        {wait}
print("trained")
"""


def run(**words):
    return processes.run(sys.executable, "-c", PROGRAM.format(**words))


def test_two_threads_end_the_process_with_a_line():
    done = run(workers=2, meet="met.wait()", wait="one.exception()")
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert "a program trains in one thread at a time. Received: fit in thread" in last
    assert last.endswith(
        "Train one model after the other, or each in a job of its own."
    )


def test_one_thread_after_the_other_trains():
    done = run(workers=1, meet="pass", wait="one.result()")
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr


FITS = """
import keras, numpy as np, threading
x = np.ones((64, 2), "float32")

def fit(number):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], batch_size=1, epochs=3, verbose=0)

threads = [threading.Thread(target=fit, args=[number]) for number in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_two_fits_at_once_end_a_job_with_an_error(tmp_path):
    (tmp_path / "fits.py").write_text(FITS)
    words = (sys.executable, "-m", "nfdt", "fits.py")
    done = processes.run(*words, folder=tmp_path)
    assert done.returncode == 1
    assert "a program trains in one thread at a time" in done.stderr.splitlines()[-1]
