"""Mathematics and protocol know no network, no clock, no chance and no Keras."""

import re

import pytest

from tests.test_layers import ROOT, imports

PURE = [
    *("algorithms.py", "resolution.py", "consistency.py"),
    *(
        str(path.relative_to(ROOT / "nfdt"))
        for part in ("rules", "protocol")
        for path in sorted((ROOT / "nfdt" / part).rglob("*.py"))
    ),
]
# A process alone serves itself; its input asks from a thread, and a clock is handed in.
EXCEPT = {"protocol/transport.py": {"threading"}, "protocol/client.py": {"time"}}
IMPURE = {
    "keras",
    "logging",
    "mpi4py",
    "os",
    "random",
    "tensorflow",
    "threading",
    "time",
}


# Of what is shared, a pure module may use what is pure.
SHARED = ("fdtcore.validation", "fdtcore.compression")


def impure(module: str) -> set[str]:
    """Returns what a module imports and a pure one must not."""
    source = (ROOT / "nfdt" / module).read_text()
    of_shared = set(re.findall(r"^\s*(?:from|import) (fdtcore[\w.]*)", source, re.M))
    found = (imports(source) - {"fdtcore"}) & IMPURE - EXCEPT.get(module, set())
    return found | {one for one in of_shared if not one.startswith(SHARED)}


@pytest.mark.parametrize("path", sorted(ROOT.glob("fdtcore/compression/*.py")))
def test_what_is_shared_is_pure_as_well(path):
    source = path.read_text()
    assert not imports(source) & IMPURE
    of_shared = re.findall(r"^\s*(?:from|import) (fdtcore[\w.]*)", source, re.M)
    pure = ("fdtcore.compression", "fdtcore.text_values")
    assert all(one.startswith(pure) for one in of_shared)


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_nothing_impure(module):
    assert not impure(module)
