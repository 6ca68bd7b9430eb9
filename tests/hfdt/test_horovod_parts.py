"""Parts of Horovod's own among what the user gives: refused, or left alone."""

import pytest

from fdtcore.process import Process
from hfdt.refusals import check_horovod


def part(module):
    """Returns an object whose class stands in a module."""
    made = type("BroadcastGlobalVariablesCallback", (), {})
    made.__module__ = module
    return made()


def test_a_callback_of_horovods_is_refused_on_several_ranks():
    callbacks = [object(), part("horovod._keras.callbacks")]
    with pytest.raises(RuntimeError, match=r"Received: Horovod's own Broadcast\w+\."):
        check_horovod(Process(0, 2), callbacks)


def test_on_one_rank_it_does_no_harm():
    check_horovod(Process(0, 1), [part("horovod.tensorflow.keras.callbacks")])


def test_what_only_sounds_like_horovod_is_left_alone():
    check_horovod(Process(0, 2), [part("horovodlike.callbacks"), None])
