"""What docs/clusters.md shows is so: each command, on the host of its prompt.

Lines of ``console`` blocks that begin with ``node1$`` are commands, what ends with
``&`` runs until its block is over, and the other lines are what the last command says,
numbers apart; ``...`` stands for lines left out.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import sys

import pytest

from tests.cluster.test_engines import skip_without
from tests.processes import ROOT
from tests.test_readme import blocks, plain

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.horovod,
    pytest.mark.mpi,
    pytest.mark.slow,
]

TEXT = (ROOT / "docs" / "clusters.md").read_text()
BLOCKS = blocks("console", TEXT)
# What a daemon says when others can be told of it.
READY = {
    "dask scheduler": "Scheduler at",
    "dask worker": "Registered to",
    "ray start": "Ray runtime started",
    "spark-class org.apache.spark.deploy.master.Master": "I have been elected leader",
    "spark-class org.apache.spark.deploy.worker.Worker": "Successfully registered",
}
ENGINES = {"dask": "dask", "ray": "ray", "spark-class": "spark"}
SLURM = re.compile(r"(salloc|sbatch|srun)\b|.* --on '?slurm")


def steps(block: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Returns the commands of a block with their hosts, and what the last one says."""
    commands = re.findall(r"^(node\d)\$ (.+)$", block, re.MULTILINE)
    shown = [line for line in block.splitlines() if not re.match(r"node\d\$ ", line)]
    return commands, shown


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0])
def test_commands_do_what_the_page_shows(hosts, folder, block, request):
    commands, shown = steps(block)
    variables = {}
    for _, words in commands:
        if engine := ENGINES.get(words.split()[0]):
            skip_without(engine)
        if SLURM.match(words):
            variables = request.getfixturevalue("slurm").variables
    (folder / "examples").symlink_to(ROOT / "examples")
    # As in an environment that is activated on each host.
    own = pathlib.Path(sys.executable).parent
    path = f"{own}:{os.environ['PATH']}"
    text = ""
    with contextlib.ExitStack() as stack:
        for host, words in commands:
            is_daemon = words.endswith("&")
            shell = ("sh", "-c", f"exec {words.rstrip('& ')}")
            process = stack.enter_context(
                hosts.start(
                    *(host, *shell),
                    folder=folder,
                    merged=True,
                    lean=False,
                    PATH=path,
                    **variables,
                )
            )
            if is_daemon:
                start = " ".join(words.split()[:2])
                process.wait_for_text(READY[start])
            else:
                done = process.ended()
                text = done.stdout
                assert done.returncode == 0, text
    said = {plain(line) for line in text.splitlines()}
    missing = [line for line in shown if plain(line) not in said and line != "..."]
    assert not missing, text


def test_the_page_has_such_blocks():
    assert len(BLOCKS) >= 11
    assert all(steps(block)[0] for block in BLOCKS)
