"""Any two of optimizer, rate, option, data, training, metric and start, in real jobs.

``make test`` runs a third of them, ``make test-long`` the others, ``make matrix`` any
three.
"""

from __future__ import annotations

import itertools

import pytest

from tests.matrix import jobs
from tests.matrix.axes import AXES, WAYS, excluded, name_of, named, not_started
from tests.matrix.covering import combinations, covering

pytestmark = pytest.mark.slow
CELLS = {str(index): cell for index, cell in enumerate(covering(AXES, 2, not_started))}
# Every third job is run where other tests are; those between are long.
JOBS = [frozenset(cells) for _, cells in jobs.started_alike(CELLS)]
OFTEN = frozenset().union(*(JOBS[i] for i in range(len(JOBS)) if i % 3 == 1))
SMALL = {"a": ("1", "2", "3"), "b": ("1", "2"), "c": ("1", "2"), "d": ("1", "2")}


@pytest.fixture(scope="session")
def chosen(request):
    """The cells whose tests are run."""
    found = [getattr(item, "callspec", None) for item in request.session.items]
    indices = {one.params["index"] for one in found if one and "index" in one.params}
    return {index: cell for index, cell in CELLS.items() if index in indices}


@pytest.fixture(scope="session")
def references(tmp_path_factory, pool, chosen):
    """What plain Keras gives for each cell."""
    return pool.submit(jobs.plain, chosen, tmp_path_factory.mktemp("matrix plain"))


@pytest.fixture(scope="session")
def started(tmp_path_factory, pool, references, chosen):
    """How cells are started -> what those come to; all begin now."""
    return {
        key: pool.submit(jobs.started, key, cells, tmp_path_factory.mktemp("matrix"))
        for key, cells in jobs.started_alike(chosen)
    }


@pytest.mark.parametrize(
    "index",
    [
        pytest.param(i, id=name_of(cell), marks=[] if i in OFTEN else pytest.mark.long)
        for i, cell in CELLS.items()
    ],
)
def test_a_program_gives_the_numbers_of_keras_or_trains_on_all_batches(
    index, references, started
):
    cell = CELLS[index]
    right = references.result()[index]
    assert not right.error, right.error
    outcome = started[jobs.start_of(index, cell)].result()[index]
    problems = jobs.problems(cell, outcome, right.arrays[0])
    assert not problems, "\n".join(problems)


def test_a_cell_is_found_by_its_name():
    assert [named(name_of(cell)) for cell in CELLS.values()] == list(CELLS.values())
    with pytest.raises(ValueError, match=r"way is one of .* Received: 'hfdt 4'"):
        named(name_of(CELLS["0"]).replace(CELLS["0"]["way"], "hfdt 4"))
    with pytest.raises(ValueError, match=r"a cell has 9 values. Received: 'hfdt 2'"):
        named("hfdt 2")


def test_each_way_is_started_in_both_forms_and_by_both_commands():
    for way, (_, workers, _, is_simulated) in WAYS.items():
        cells = [cell for cell in CELLS.values() if cell["way"] == way]
        assert {cell["form"] for cell in cells} == set(AXES["form"])
        launches = {cell["launch"] for cell in cells}
        assert launches == ({"run"} if is_simulated else set(AXES["launch"])), workers


def test_a_covering_holds_every_combination_that_is_possible():
    def is_excluded(row):
        return row.get("a") == "1" and row.get("b") == "1"

    for strength in (2, 3):
        rows = covering(SMALL, strength, is_excluded)
        assert len(rows) < len(list(itertools.product(*SMALL.values())))
        assert not any(map(is_excluded, rows))
        for one in combinations(SMALL, strength):
            held = any(dict(one).items() <= row.items() for row in rows)
            assert held != bool(is_excluded(dict(one)))


def test_every_value_of_an_axis_is_in_some_cell():
    for axis, values in AXES.items():
        assert {cell[axis] for cell in CELLS.values()} == set(values)
    assert not any(map(excluded, CELLS.values()))
