"""The state of a binding: values that blocks give, and one place for all of it."""

from __future__ import annotations

import ast
import threading

import pytest

from fdtcore.glue.context import Context, Nested
from tests.processes import ROOT

# What a module of the binding may keep by itself: where all else is found.
ROOTS = {"binding.py": {"_binding", "_context"}}
CONTAINERS = ("WeakKeyDictionary", "WeakSet", "WeakValueDictionary")


def test_the_innermost_block_that_runs_gives_the_value():
    nested = Nested(False)
    with nested.given(True):
        with nested.given(False):
            assert not nested.now
        assert nested.now
    assert not nested.now


def test_a_block_that_fails_takes_its_value_back():
    nested = Nested("outside")
    with pytest.raises(ValueError, match="failed"), nested.given("inside"):
        raise ValueError("failed")
    assert nested.now == "outside"


def test_blocks_of_two_threads_that_overlap_leave_nothing_behind():
    nested, begun, ended = Nested(0), threading.Event(), threading.Event()

    def other():
        with nested.given(2):
            begun.set()
            ended.wait(10)

    thread = threading.Thread(target=other)
    with nested.given(1):
        thread.start()
        assert begun.wait(10)
    ended.set()
    thread.join(10)
    assert nested.now == 0


def test_two_contexts_share_nothing():
    one, other = Context(), Context()
    shared = [name for name in vars(one) if vars(one)[name] is vars(other)[name]]
    assert [name for name in shared if vars(one)[name] is not None] == []


def state_of(source: str) -> set[str]:
    """Returns what a module keeps: variables that it changes, or that begin empty."""
    tree = ast.parse(source)
    found = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Global)
        for name in node.names
    }
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        value, name = node.value, ast.unparse(target)
        is_list = isinstance(value, ast.List)  # a table is a tuple
        is_empty = ast.unparse(value) in ("{}", "set()", "dict()")
        made = isinstance(value, ast.Call) and ast.unparse(value.func)
        if is_list or is_empty or (made and made.endswith(CONTAINERS)):
            found.add(name)
    return found


GLUE = [
    *sorted((ROOT / "fdtcore" / "glue").glob("*.py")),
    *sorted((ROOT / "nfdt" / "glue").glob("*.py")),
]


@pytest.mark.parametrize("file", GLUE)
def test_a_module_of_the_binding_keeps_no_state_of_its_own(file):
    kept = state_of(file.read_text()) - ROOTS.get(file.name, set())
    assert kept <= {"_moved"}, f"{file.name} keeps {kept}: make it a field of Context"


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("_alone = [False]", {"_alone"}),
        ("_seen: dict[str, int] = {}", {"_seen"}),
        ("_known = weakref.WeakSet()", {"_known"}),
        ("def f():\n    global _count", {"_count"}),
        ("TABLE = {'a': 1}\nNAMES = ('a',)\nPATTERN = re.compile('a')", set()),
    ],
)
def test_state_is_found(source, kept):
    assert state_of(source) == kept
