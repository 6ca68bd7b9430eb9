"""Functions that jobs call, and some that no job can be given."""

from __future__ import annotations

import threading


def plain(*args):
    """Returns its arguments."""
    return list(args)


def with_a_lock():
    """Returns a function that has what cannot be pickled."""
    lock = threading.Lock()

    def train():
        return lock

    return train


def of_main():
    """Says that it is of a program, and not of a module."""


of_main.__module__ = "__main__"


class Callable:
    """Can be called, and not be pickled."""

    def __call__(self):
        """Is never called."""

    def __reduce__(self):
        raise TypeError("not this one")
