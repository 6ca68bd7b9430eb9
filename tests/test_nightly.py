"""What is said of a nightly of Keras."""

from __future__ import annotations

import numpy as np
import pytest

from tests.nightly import differences, is_told


class Trained:
    """A job whose rows are known."""

    def __init__(self, **rows):
        self._rows = rows

    def row(self, name):
        if name not in self._rows:
            raise AssertionError(f"log\nKeyError: {name}")
        return {"w": np.asarray(self._rows[name])}


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (Trained(sgd=1.0001), []),
        (Trained(sgd=1.1), ["hfdt, sgd: w differs"]),
        (Trained(), ["hfdt, sgd: KeyError: sgd"]),
    ],
)
def test_a_program_that_differs_or_fails_is_named(job, said):
    assert differences("hfdt", "sgd", Trained(sgd=1.0), job) == said


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("PASSED tests/x.py::test_contract_was_seen_with[keras 3.16]", True),
        ("PASSED tests/x.py::test_a_loss_is_reduced", False),
        ("FAILED tests/x.py::test_a_loss_is_reduced - AttributeError: moved", True),
        ("E   ImportError: Received: Keras 4, without keras.src.tree", True),
        ("1 failed, 84 passed in 15.19s", True),
        ("", False),
    ],
)
def test_what_has_moved_is_told_and_nothing_else(line, told):
    assert is_told(line) is told
