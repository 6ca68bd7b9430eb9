"""Ranks and spares without TensorFlow: ``spare_stub SCRIPT|SOCKET ...``."""

import os
import sys

from fdtcore import spare, user_program
from fdtcore.rank_program import RankProgram


def load():
    if "loaded" not in sys.modules:
        os.environ["LOADED_BY"] = "the spare"  # an environment that the rank has not
    sys.modules["loaded"] = sys


def run(target, args, *, module):
    user_program.run(target, args, module=module)


def leave(process, error):
    raise error


PROGRAM = RankProgram("stub", lambda environ: None, load, run, leave)

if __name__ == "__main__":
    if sys.argv[1].endswith(".socket"):
        sys.exit(spare.main(PROGRAM, sys.argv[1:]))
    sys.exit(PROGRAM.main(sys.argv[1:]))
