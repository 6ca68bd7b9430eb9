"""Mathematics and protocol know no network, no clock, no chance and no Keras."""

import pytest

from tests.test_layers import ROOT, imports

PURE = [
    *("algorithms.py", "fitting.py", "consistency.py"),
    *(
        str(path.relative_to(ROOT / "nfdt"))
        for part in ("rules", "protocol")
        for path in sorted((ROOT / "nfdt" / part).rglob("*.py"))
    ),
]
# A process alone serves itself; its input asks from a thread, and a clock is handed in.
EXCEPT = {"protocol/asking.py": {"threading"}, "protocol/worker.py": {"time"}}
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


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_nothing_impure(module):
    found = imports((ROOT / "nfdt" / module).read_text())
    assert not found & (IMPURE | {"fdtcore"}) - EXCEPT.get(module, set())
