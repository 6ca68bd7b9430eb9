"""Rows of a table are trained in a process of their own, once for all who share it."""

import concurrent.futures
import contextlib
import sys

import pytest

from tests.tables import Rows

FREE = contextlib.nullcontext  # no slot is needed
TABLE = """
import pathlib, sys
import numpy as np

with open("times", "a") as file:
    print("trained", file=file)
if "wrong" in sys.argv:
    raise ValueError("no such row")
np.savez(sys.argv[1], **{"one/w": np.ones(2), "one/b": np.zeros(1), "two/w": [3.0]})
"""


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def table(tmp_path):
    (tmp_path / "table.py").write_text(TABLE)
    return tmp_path / "table.py"


def times(folder):
    return (folder / "times").read_text().count("trained")


def test_a_row_has_its_arrays_by_their_names(table, pool):
    rows = Rows(pool, [sys.executable], table, table.parent)
    assert rows.row("one").keys() == {"w", "b"}
    assert rows.row("two")["w"] == [3.0]
    with pytest.raises(AssertionError, match="no row three"):
        rows.row("three")


def test_those_who_share_a_job_train_once(table, pool):
    jobs = [
        Rows(pool, [sys.executable], table, table.parent, shared=FREE) for _ in range(2)
    ]
    assert [job.row("two")["w"] for job in jobs] == [3.0, 3.0]
    assert times(table.parent) == 1


def test_a_job_that_fails_shows_what_it_said_and_is_tried_by_the_next(table, pool):
    for count in (1, 2):
        job = Rows(
            pool,
            [sys.executable],
            table,
            table.parent,
            ["wrong"],
            shared=FREE,
        )
        with pytest.raises(AssertionError, match="no such row"):
            job.row("one")
        assert times(table.parent) == count
