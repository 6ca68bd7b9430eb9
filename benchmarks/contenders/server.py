"""The time and the memory of a server's update by the default rule, in this process.

Which code it measures is said by PYTHONPATH: both the rules and ``server_update``,
which knows how to call them, are those of the first folder there.
"""

import argparse
import json
import resource

from benchmarks import server_update

RULE = "ddc-asgd"  # the default algorithm's


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()
    server_update.RULES = (RULE,)  # memory is that of this rule alone
    (found,) = server_update.measure(options.parameters, 1, options.steps)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = {
        "update_ms": 1e3 * found.seconds[0],
        "memory_mib": peak_kib / 1024,
        "code": server_update.__file__,
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
