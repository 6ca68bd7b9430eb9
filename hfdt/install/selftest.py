"""One process of `hfdt doctor`'s trial job: ``python -m hfdt.install.selftest``."""

import json
import sys

import horovod.tensorflow as hvd
import tensorflow as tf

from hfdt.install.trial import MARK


def main() -> int:
    """Sums the ranks' numbers, and prints what this Horovod can do (rank 0).

    Returns:
        0 if the sum is right.
    """
    hvd.init()
    size = hvd.size()
    own = tf.fill([1000], float(hvd.rank() + 1))
    total = hvd.allreduce(own, op=hvd.Sum, name="hfdt.install.selftest").numpy()
    if hvd.rank() == 0:
        told = {
            "size": size,
            "mpi": bool(hvd.mpi_built()),
            "gloo": bool(hvd.gloo_built()),
            "nccl": bool(hvd.nccl_built()),
        }
        # horovodrun puts the rank before each line: the mark is looked for inside.
        print(f"\n{MARK}{json.dumps(told)}", flush=True)
    hvd.shutdown()
    return int((total != size * (size + 1) / 2).any())


if __name__ == "__main__":
    sys.exit(main())
