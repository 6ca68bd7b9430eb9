"""Executes the notebook of the examples, which keeps what it shows then.

``python scripts/notebook.py [FILE [TARGET]]``; jobs leave their logs in the current
folder.
"""

import sys
from pathlib import Path

import nbclient
import nbformat

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook.ipynb"


def execute(source: Path, target: Path) -> None:
    """Executes a notebook and writes it without what tells of this machine."""
    notebook = nbformat.read(source, 4)
    nbclient.NotebookClient(
        notebook, kernel_name="python3", coalesce_streams=True, record_timing=False
    ).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, target)


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]] or [NOTEBOOK]
    execute(given[0], given[-1])
