"""Epochs lie in the passes over the data as Keras takes them."""

import pytest

from nfdt.glue.epochs import Passes


def epochs(passes, count):
    return [tuple(passes.begin()) for _ in range(count)]


def test_without_a_count_every_epoch_is_a_pass():
    assert epochs(Passes(7, None), 2) == [(True, 0, 7)] * 2


def test_with_a_count_an_epoch_goes_on_and_ends_with_the_pass():
    found = epochs(Passes(7, 3), 4)
    assert found == [(True, 0, 3), (False, 3, 3), (False, 6, 1), (True, 0, 3)]


def test_a_count_that_divides_the_pass_begins_anew_behind_it():
    assert epochs(Passes(6, 3), 3) == [(True, 0, 3), (False, 3, 3), (True, 0, 3)]


def test_a_stream_goes_on_until_it_ends():
    passes = Passes(None, 5)
    assert epochs(passes, 2) == [(True, 0, 5), (False, 5, 5)]
    passes.end()
    assert passes.begin().is_new_pass


@pytest.mark.parametrize("steps", [None, 4])
def test_peeking_begins_nothing(steps):
    passes = Passes(9, steps)
    assert passes.peek() == passes.peek() == passes.begin()


def test_an_unknown_length_without_a_count_is_a_pass_each():
    assert epochs(Passes(None, None), 2) == [(True, 0, None)] * 2
