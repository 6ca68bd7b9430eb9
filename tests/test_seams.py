"""What stands between the parts of the project is typed."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    str(path.relative_to(ROOT))
    for package in ("fdtcore", "hfdt", "nfdt")
    for path in (ROOT / package).rglob("*.py")
)
SEAMS = {"collectives", "communicator", "engine", "epochs", "groups", "strategy"}


def untyped(source: str) -> set[str]:
    """Returns the parameters of a program that are a seam, and ``Any``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg) and node.arg in SEAMS:
            if isinstance(node.annotation, ast.Name) and node.annotation.id == "Any":
                found.add(node.arg)
    return found


@pytest.mark.parametrize("file", FILES)
def test_no_seam_is_any(file):
    assert not untyped((ROOT / file).read_text())


def test_an_untyped_seam_is_found():
    assert untyped("def fit(engine: Any, model: Any): pass") == {"engine"}
