"""Whose line is it? Real exceptions from a user's script, a library and us."""

import runpy
import sys
import textwrap
import threading

import pytest

from fdtcore import tracebacks

OURS = """
import json
def call(function):
    return function()
def refuse(value):
    raise TypeError(f"not like that: {value}")
def parse():
    json.loads("{")
def chain(function):
    try:
        function()
    except ValueError as error:
        raise RuntimeError("ours") from error
"""
SCRIPT = """
import ourpackage
def fail():
    raise ValueError("bad value")  # the line
def main(case):
    if case == "user":
        ourpackage.call(fail)
    if case == "refused":
        ourpackage.refuse(7)  # the line
    if case == "library":
        ourpackage.parse()  # the line
    if case == "chain":
        ourpackage.chain(fail)  # the line
    if case == "import":
        import mistake
main(case)
"""


@pytest.fixture
def error_of(tmp_path, monkeypatch):
    package = tmp_path / "ourpackage"
    package.mkdir()
    (package / "__init__.py").write_text(textwrap.dedent(OURS))
    (tmp_path / "train.py").write_text(textwrap.dedent(SCRIPT))
    (tmp_path / "mistake.py").write_text("x = 1\ny = = 2\n")
    monkeypatch.syspath_prepend(tmp_path)

    def run(case):
        try:
            runpy.run_path(str(tmp_path / "train.py"), {"case": case}, "__main__")
        except Exception as error:
            return error.with_traceback(error.__traceback__.tb_next)  # not this file
        raise AssertionError(f"{case} raises nothing")

    yield run
    sys.modules.pop("ourpackage", None)


def lines_of(text):
    return [
        line for line in SCRIPT.splitlines() if "# the line" in line and text in line
    ]


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("user", "bad value"),
        ("refused", "refuse"),
        ("library", "parse"),
        ("chain", "chain"),
    ],
)
def test_user_line(error_of, case, text):
    (line,) = lines_of(text)
    number = SCRIPT.splitlines().index(line) + 1
    where, source = tracebacks.find_user_line(error_of(case), hidden=("ourpackage",))
    assert (where, source) == (f"train.py:{number}", line.strip())


def test_syntax_error_is_where_the_mistake_is(error_of):
    where, source = tracebacks.find_user_line(error_of("import"))
    assert (where, source) == ("mistake.py:2", "y = = 2")


def test_user_line_is_that_of_the_cause_where_the_error_has_none(error_of):
    error = RuntimeError("raised nowhere")
    error.__cause__ = error_of("user")
    assert tracebacks.find_user_line(error)[0].startswith("train.py:")


def test_no_user_line():
    assert tracebacks.find_user_line(ValueError("raised nowhere")) == ("", "")


def test_traceback_hides_our_frames_and_runpy_only(error_of):
    error = error_of("user")
    text = tracebacks.format_traceback(error, hidden=("ourpackage",))
    assert text.startswith("Traceback (most recent call last):\n")
    assert "ourpackage/__init__.py" not in text
    assert "runpy" not in text
    assert text.count('train.py"') == 3  # module, main, fail
    assert text.endswith("ValueError: bad value\n")
    debug = tracebacks.format_traceback(error, hidden=("ourpackage",), debug=True)
    assert "ourpackage/__init__.py" in debug
    assert "runpy" in debug


def test_traceback_keeps_the_chain(error_of):
    text = tracebacks.format_traceback(error_of("chain"), hidden=("ourpackage",))
    assert "ValueError: bad value\n\nThe above exception was the direct cause" in text
    assert "ourpackage/__init__.py" not in text
    assert text.endswith("RuntimeError: ours\n")


def test_error_entirely_of_our_own_keeps_its_frames(error_of):
    error = error_of("refused")
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    text = tracebacks.format_traceback(
        error.with_traceback(trace), hidden=("ourpackage",)
    )
    assert "ourpackage/__init__.py" in text


def test_circular_chain_ends():
    error = ValueError("a")
    error.__cause__ = RuntimeError("b")
    error.__cause__.__context__ = error
    assert tracebacks.find_user_line(error) == ("", "")


def stack_of_waiting_thread(**options):
    def sit_here():
        ready.set()
        done.wait(10.0)

    ready, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=sit_here)
    thread.start()
    ready.wait(10.0)
    while sys._current_frames()[thread.ident].f_code.co_name != "wait":
        pass  # still on its way there
    text = tracebacks.format_stack(sys._current_frames()[thread.ident], **options)
    done.set()
    thread.join()
    return text


def test_stack_shows_the_users_frames_then_what_they_are_in():
    text = stack_of_waiting_thread()
    assert text.count("\n  File ") == 0
    assert text.startswith(f'  File "{__file__}", line ')
    assert "in sit_here\n    done.wait(10.0)\n  inside wait (" in text
    assert "threading.py:" in text


def test_debug_stack_shows_every_frame():
    text = stack_of_waiting_thread(debug=True)
    assert "_bootstrap" in text
    assert "inside" not in text


def test_stack_without_user_frames_shows_the_rest():
    name = __name__.partition(".")[0]
    text = stack_of_waiting_thread(hidden=(name,))
    assert "in wait\n" in text
    assert "sit_here" not in text
