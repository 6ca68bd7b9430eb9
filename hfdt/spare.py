"""A process that waits to become a rank of HFDT: ``python -m hfdt.spare SOCKET N``."""

from __future__ import annotations

import sys

from fdtcore import spare
from hfdt.__main__ import PROGRAM

if __name__ == "__main__":
    sys.exit(spare.main(PROGRAM, sys.argv[1:]))
