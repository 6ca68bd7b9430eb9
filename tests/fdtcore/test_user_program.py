import os

import pytest

from fdtcore.user_program import check_module, check_script


def test_a_good_script_passes(tmp_path):
    script = tmp_path / "train.py"
    script.write_text("# -*- coding: latin-1 -*-\nx = 'é' is 'é'\n", encoding="latin-1")
    check_script(str(script))


def test_a_missing_script_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=rf"Received: no\.py, looked for in {tmp_path}"
    ):
        check_script("no.py")
    with pytest.raises(ValueError, match="Write -m before the name of a module"):
        check_script("pytest")


def test_a_syntax_error_is_shown_with_its_line(tmp_path):
    script = tmp_path / "bad.py"
    script.write_text("def f():\n    return 1 +\n")
    with pytest.raises(ValueError, match=r"bad\.py:2: invalid syntax\.") as caught:
        check_script(str(script))
    assert str(caught.value).splitlines()[1:] == ["    return 1 +", "              ^"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x = 1\0", b"# coding: nonsense\n"])
def test_what_is_no_text_is_refused(tmp_path, content):
    script = tmp_path / "bad.py"
    script.write_bytes(content)
    with pytest.raises(ValueError, match="must be valid Python"):
        check_script(str(script))


def test_a_folder_needs_a_main(tmp_path):
    with pytest.raises(ValueError, match=r"must hold a __main__\.py"):
        check_script(str(tmp_path))
    (tmp_path / "__main__.py").write_text("x = (")
    with pytest.raises(ValueError, match="was never closed"):
        check_script(str(tmp_path))


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_an_unreadable_script_is_refused(tmp_path):
    script = tmp_path / "train.py"
    script.touch(mode=0)
    with pytest.raises(ValueError, match="chmod u"):
        check_script(str(script))


def test_modules_are_looked_for_here_and_among_the_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_only.py").write_text("raise SystemExit('imported')")
    check_module("mine_only")
    check_module("pytest")
    check_module("json.tool")
    for name in ("no_such_module.x", "train.py/", ".x", ""):
        with pytest.raises(ValueError, match="must be importable"):
            check_module(name)
