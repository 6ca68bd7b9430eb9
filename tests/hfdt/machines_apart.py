"""The rank program on machines of their own: ``machines_apart.py SCRIPT ARGS...``.

What a machine has for itself is its memory: a folder for each here. ``MACHINES`` names
that of each rank, parted by commas.
"""

import os
import sys
from pathlib import Path

from fdtcore.snapshots import copies
from hfdt.__main__ import PROGRAM

rank = int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
copies.MEMORY = Path(os.environ["MACHINES"].split(",")[rank])
copies.MEMORY.mkdir(exist_ok=True)

if __name__ == "__main__":
    sys.exit(PROGRAM.main(sys.argv[1:]))
