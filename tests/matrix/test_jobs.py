"""What the matrix calls a wrong cell: one that cannot fail shows nothing."""

import numpy as np
import pytest

from tests.matrix import jobs
from tests.matrix.axes import named

EXACT = named(
    "hfdt 2 | explicit | run | sgd | number | none | arrays | fit | keras",
)
ASYNCHRONOUS = {**EXACT, "way": "nfdt 2"}
PLAIN = {
    "w0": np.ones((2, 3), "float32"),
    "loss": np.array([0.5, 0.25]),
    "iterations": np.array(8),
    "label": np.array([1.5]),
    "seen rates": np.array([0.1, 0.1]),
}


def outcome(*changes):
    """Returns what ranks have ended with: the right values, but for some."""
    return jobs.Outcome([{**PLAIN, **change} for change in changes])


@pytest.mark.parametrize("cell", [EXACT, ASYNCHRONOUS])
def test_the_right_values_are_no_problem(cell):
    assert jobs.problems(cell, outcome({}, {}), PLAIN) == []


@pytest.mark.parametrize("cell", [EXACT, ASYNCHRONOUS])
@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        (({}, {"w0": 2 * PLAIN["w0"]}), "w0 is 1 and 2 at (0, 0) on ranks 0 and 1"),
        (({"iterations": np.array(9)},) * 2, "iterations is 9 and 8 in place"),
        (({"label": np.array([1.6])},) * 2, "label is 1.6 and 1.5"),
        (({"w0": np.ones((3, 2), "float32")},) * 2, "w0 is"),
        (({"w0": np.full((2, 3), np.nan)},) * 2, "w0 is"),
        (({"more": np.ones(1)},) * 2, "names differ: ['more']"),
    ],
)
def test_what_is_wrong_in_every_way_is_named(cell, ranks, said):
    assert said in "\n".join(jobs.problems(cell, outcome(*ranks), PLAIN))


def test_other_weights_are_wrong_where_numbers_are_those_of_keras():
    other = ({"w0": 1.01 * PLAIN["w0"]},) * 2
    assert jobs.problems(EXACT, outcome(*other), PLAIN)
    assert not jobs.problems(ASYNCHRONOUS, outcome(*other), PLAIN)
    assert jobs.problems({**ASYNCHRONOUS, "way": "nfdt 1"}, outcome(*other), PLAIN)


def test_a_job_that_fails_is_a_wrong_cell():
    assert jobs.problems(EXACT, jobs.Outcome([], "code 1"), PLAIN) == ["code 1"]


def test_workers_that_wait_for_nobody_may_see_other_rates_of_a_schedule():
    seen = ({}, {"seen rates": np.array([0.1, 0.05])})
    assert jobs.problems(ASYNCHRONOUS, outcome(*seen), PLAIN)
    assert not jobs.problems(
        {**ASYNCHRONOUS, "rate": "schedule"}, outcome(*seen), PLAIN
    )
