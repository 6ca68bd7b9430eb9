"""The record of a failure: what it says, and what it refuses to read."""

import json
import threading

import pytest

from fdtcore import failures
from fdtcore.failures import Failure, PeerFailure
from fdtcore.process import Process

PROCESS = Process(rank=1, size=4, local_rank=1, local_size=4, host="hostA")
FAILURE = Failure(
    1, 4, "hostA", "ValueError", "bad value", "train.py:33", "f(x)", "T\n"
)


class Broken(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def caught(error):
    try:
        raise error
    except BaseException as raised:
        return raised


def test_from_exception_says_who_what_and_where():
    failure = Failure.from_exception(PROCESS, caught(ValueError("bad value")))
    assert (failure.rank, failure.size, failure.host) == (1, 4, "hostA")
    assert (failure.type, failure.message) == ("ValueError", "bad value")
    assert failure.where.startswith("test_failures.py:")
    assert failure.source_line == "raise error"
    assert failure.traceback.startswith("Traceback (most recent call last):\n")
    assert failure.traceback.endswith("ValueError: bad value\n")
    assert failure.kind == failures.EXCEPTION


def test_exception_without_a_text_of_its_own():
    assert Failure.from_exception(PROCESS, caught(Broken())).message == (
        "<str() of the exception raised RuntimeError>"
    )


def headline_of(**changes):
    return Failure.from_json({**FAILURE.to_json(), **changes}).headline()


GRAPH = (
    "Graph execution error:\n\n"
    "Detected at node a/b defined at (most recent call last):\n"
    '  File "/a/train.py", line 4, in <module>\n\n{}\n\t [[{{{{node a/b}}}}]] [Op:f_1]'
)
# As Keras and TensorFlow write them, and the sentence that matters.
TELLING = {
    "Exception encountered when calling LSTM.call().\n\n\x1b[1m{{function_node "
    "__wrapped__MatMul}} In[0]: [8,3], In[1]: [7,2] [Op:MatMul] name: \x1b[0m\n\n"
    "Arguments received by LSTM.call():\n  \u2022 x=tf.Tensor(shape=(8, 3))": (
        "LSTM.call(): In[0]: [8,3], In[1]: [7,2]"
    ),
    GRAPH.format("indices[0] = 9 is not in [0, 4)"): "indices[0] = 9 is not in [0, 4)",
    GRAPH.format("2 root error(s) found.\n  (0) INVALID_ARGUMENT:  no such label"): (
        "no such label"
    ),
    GRAPH.format("LookupError: a\nTraceback (most recent call last):\n"): (
        "LookupError: a"
    ),
}


def test_the_end_of_a_long_message_is_kept():
    message = GRAPH.format("  File x\n" * 1000 + "the sentence")
    failure = Failure.from_exception(Process(), ValueError(message))
    assert len(failure.message) <= 4000
    assert "ValueError: the sentence" in failure.headline()


def test_the_text_of_a_key_error_is_no_key():
    message = "Exception encountered when calling A.call().\n\n\x1b[1mno b\x1b[0m\n"
    failure = Failure.from_exception(Process(), KeyError(message))
    assert "KeyError: A.call(): no b" in failure.headline()


def test_headline():
    start = "rank 1/4 (hostA) failed: ValueError"
    assert headline_of() == f"{start}: bad value (train.py:33: f(x))"
    assert headline_of(source_line="") == f"{start}: bad value (train.py:33)"
    assert headline_of(where="", source_line="") == f"{start}: bad value"
    assert headline_of(message="", where="") == start
    assert headline_of(message="one\ntwo", where="") == f"{start}: one"
    traced = "in user code:\n\n    File t.py, line 3\n      f()\n\n    OSError: cut\n"
    assert headline_of(message=traced, where="") == f"{start}: OSError: cut"
    assert headline_of(message="a:\nb", where="") == f"{start}: a:"
    for message, line in TELLING.items():
        assert headline_of(message=message, where="") == f"{start}: {line}"
    assert headline_of(kind=failures.STALL) == "bad value"
    assert len(headline_of(message="x" * 4000)) < 500


def test_huge_exception_fits_the_bounds_and_keeps_the_end():
    def dive(depth):
        if depth:
            dive(depth - 1)
        raise ValueError("x" * 10**6 + "\n" + "\N{SNOWMAN}" * 10**5 + "end")

    try:
        dive(5)
    except ValueError as error:
        failure = Failure.from_exception(PROCESS, error)
    assert Failure.from_json(failure.to_json()) == failure
    assert failure.traceback.endswith("end\n")
    assert len(json.dumps(failure.to_json())) < 1 << 20


def test_json_round_trip_survives_odd_text():
    failure = Failure.from_json({**FAILURE.to_json(), "message": "\udcff \0 \u2028"})
    assert Failure.from_json(json.loads(json.dumps(failure.to_json()))) == failure


@pytest.mark.parametrize(
    "changes",
    [
        {"rank": 4},
        {"rank": -1},
        {"rank": "1"},
        {"rank": True},
        {"size": 1.0},
        {"message": None},
        {"message": "x" * 4001},
        {"traceback": "x" * 64_001},
        {"host": "x" * 501},
        {"kind": "else"},
        {"kind": []},
        {"more": 1},
    ],
)
def test_from_json_is_strict(changes):
    with pytest.raises(ValueError, match="Received"):
        Failure.from_json({**FAILURE.to_json(), **changes})


@pytest.mark.parametrize("value", [None, [], "text", {}])
def test_from_json_refuses_what_is_no_record(value):
    with pytest.raises(ValueError, match="Received"):
        Failure.from_json(value)


def test_peer_failure_names_both_ranks():
    error = PeerFailure(FAILURE, Process(size=4))
    assert str(error) == f"rank 0/4 stops: {FAILURE.headline()}"
    assert error.failure is FAILURE


def test_first_record_stays(tmp_path):
    assert failures.read_record(tmp_path) is None
    assert failures.write_record(tmp_path, FAILURE) is True
    other = Failure(0, 4, "hostB", "KeyError", "'x'")
    assert failures.write_record(tmp_path, other) is False
    assert failures.read_record(tmp_path) == FAILURE
    assert [path.name for path in tmp_path.iterdir()] == [failures.RECORD_NAME]


def test_one_of_many_writers_wins(tmp_path):
    start = threading.Barrier(8)
    won = []

    def write(rank):
        start.wait()
        failure = Failure(rank, 8, "h", "ValueError", "bad")
        if failures.write_record(tmp_path, failure):
            won.append(failure)

    threads = [threading.Thread(target=write, args=(rank,)) for rank in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [failures.read_record(tmp_path)]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rank": 1}'])
def test_broken_record_is_refused(tmp_path, text):
    (tmp_path / failures.RECORD_NAME).write_text(text)
    with pytest.raises(ValueError, match=r".+"):
        failures.read_record(tmp_path)
