"""Three hosts to try things on by hand: ``python -m tests.cluster up``.

::

    python -m tests.cluster up [N [MS]]         makes hosts node1 to nodeN, MS apart
    python -m tests.cluster exec node1 COMMAND  runs a command on one
    python -m tests.cluster cut node2           pulls its cable; mend puts it in again
    python -m tests.cluster limit node2 100     its link has 100 Mbit/s
    python -m tests.cluster down
"""

from __future__ import annotations

import pathlib
import subprocess
import sys

from tests.cluster.hosts import STATE, Hosts, missing


def main(words: list[str]) -> int:
    """Does what the command line says."""
    match words:
        case ["up", *count]:
            if lacking := missing():
                print(lacking, file=sys.stderr)
                return 1
            numbers = [int(word) for word in count] or [3]
            hosts = Hosts(*numbers)
            hosts.up()
            first, names = hosts.names[0], ",".join(f"{n}:1" for n in hosts.names)
            size = len(hosts.names)
            job = f"hfdt run -np {size} -H {names} examples/digits_single.py"
            print(
                f"{', '.join(hosts.names)} are up. For example:\n"
                f"  python -m tests.cluster exec {first} {job}\n"
                f"  python -m tests.cluster exec {first} bash\n"
                "and in the end: python -m tests.cluster down"
            )
        case ["exec", host, *command] if command:
            words = up().words(host, pathlib.Path.cwd(), command)
            return subprocess.run(words, check=False).returncode
        case ["cut", host]:
            up().cut(host)
        case ["mend", host]:
            up().mend(host)
        case ["limit", host, rate]:
            up().limit(host, int(rate))
        case ["down"]:
            up().down()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def up() -> Hosts:
    """Returns the hosts that are up."""
    return Hosts(sum(path.is_dir() for path in STATE.glob("node*")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
