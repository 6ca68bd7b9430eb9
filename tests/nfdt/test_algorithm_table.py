"""``nfdt algorithms``: the table, and the equations of each row."""

import inspect

import pytest
from click.testing import CliRunner

from nfdt.algorithms import ALGORITHMS, DEFAULT
from nfdt.cli import algorithm_table, inspection
from nfdt.rules.corrections import NoCorrection


def test_table_has_every_algorithm_and_fits():
    lines = algorithm_table.table().splitlines()
    assert max(map(len, lines)) <= 100
    words = " ".join(" ".join(lines).split())
    for name, one in ALGORITHMS.items():
        (row,) = (line for line in lines if line.split("  ")[0].split(" ")[0] == name)
        assert (f"{name} *" in row) == (name == DEFAULT)
        assert f"  {one.memory}" in row
        assert all(word in words for word in f"{one.summary} {one.source}".split())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_details_show_the_equations_without_marks(name):
    text = algorithm_table.details(name)
    assert text.startswith(name)
    assert ALGORITHMS[name].source in text
    assert "`" not in text and "::" not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_line_of_the_equations_is_there(name):
    text = algorithm_table.details(name)
    one = ALGORITHMS[name]
    rules = [rule for rule in (one.correction, one.optimizer) if rule is not None]
    for rule in rules:
        if isinstance(rule, NoCorrection):
            continue
        doc, common = map(inspect.getdoc, (type(rule), inspect.getmodule(type(rule))))
        doc += common if "::" in common else ""
        equations = [line for line in doc.splitlines() if " = " in line]
        assert equations
        assert all(line.replace("`", "").strip(" .") in text for line in equations)


def test_commands():
    run = CliRunner().invoke
    assert run(inspection.algorithms, []).stdout == algorithm_table.table() + "\n"
    assert (
        run(inspection.algorithms, ["easgd"]).stdout
        == algorithm_table.details("easgd") + "\n"
    )
    wrong = run(inspection.algorithms, ["sgd"])
    assert wrong.exit_code == 2
    assert all(name in wrong.stderr for name in ALGORITHMS)
