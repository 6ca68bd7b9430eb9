"""What reads data ahead rests while a step is tried."""

import threading

import pytest

from fdtcore.glue import readers

LIMIT_S = 60  # far longer than anything here takes


def started(function):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_nobody_begins_a_batch_during_a_trial():
    happened = []

    def read():
        with readers.reading():
            happened.append("read")

    with readers.resting():
        thread = started(read)
        thread.join(0.2)  # ends at once where it does not wait
        happened.append("tried")
    thread.join(LIMIT_S)
    assert happened == ["tried", "read"]


def test_a_trial_waits_for_a_batch_that_is_being_made():
    happened, begun, goes_on = [], threading.Event(), threading.Event()

    def read():
        with readers.reading():
            begun.set()
            goes_on.wait(LIMIT_S)
            happened.append("read")

    thread = started(read)
    begun.wait(LIMIT_S)
    threading.Timer(0.2, goes_on.set).start()
    with readers.resting(LIMIT_S):
        happened.append("tried")
    thread.join(LIMIT_S)
    assert happened == ["read", "tried"]


def test_a_trial_does_without_a_batch_that_waits_for_what_comes_after_it():
    begun, goes_on = threading.Event(), threading.Event()

    def read():
        with readers.reading():
            begun.set()
            goes_on.wait(LIMIT_S)

    thread = started(read)
    begun.wait(LIMIT_S)
    with readers.resting(0.01):
        pass
    goes_on.set()
    thread.join(LIMIT_S)
    assert not thread.is_alive()


def test_what_a_reader_raises_is_raised_and_it_is_not_waited_for():
    with pytest.raises(KeyError), readers.reading():
        raise KeyError
    with readers.resting(LIMIT_S):
        pass
