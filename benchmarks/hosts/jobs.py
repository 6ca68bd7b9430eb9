"""The jobs on hosts: which hosts, how many ranks or workers, which options."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.launches import ROOT

SCRIPT = ROOT / "benchmarks" / "contenders" / "phases.py"
MAX_HOSTS = 3
FAST, SLOW = 1000, 100  # Mbit/s of every host's link
RATES = (FAST, SLOW)
BATCH_PER_RANK = 8
# What a launcher sets for three hosts, as Open MPI chooses where nobody says so; what
# the user has set stays, so these come before it.
_OWN_CHOICE = {
    "OMPI_MCA_coll_han_priority": "35",
    "OMPI_MCA_coll_tuned_use_dynamic_rules": "0",
    "OMPI_MCA_coll_tuned_dynamic_rules_filename": "",
}


@dataclass(frozen=True)
class Payload:
    """What is trained: two dense layers and ten classes, at a small batch.

    Args:
        width: Units of each layer; 0: the CNN of the other benchmarks.
        steps: Of each rank or worker in an epoch.
        batch_per_rank: Images of each in a step.
    """

    width: int
    steps: int
    batch_per_rank: int = BATCH_PER_RANK

    @property
    def parameters(self) -> int:
        """How many there are."""
        hidden = (784 + 1) * self.width + (self.width + 1) * self.width
        return hidden + 10 * (self.width + 1)

    @property
    def title(self) -> str:
        """How tables name it."""
        return f"{self.parameters / 1e6:.1f} M parameters"


PAYLOADS: Mapping[str, Payload] = {
    "small": Payload(1250, steps=10),
    "large": Payload(4620, steps=5),
}


@dataclass(frozen=True)
class Job:
    """One way to train on hosts.

    Args:
        program: "hfdt" or "nfdt".
        hosts: How many; on one, all processes are on it.
        processes: Ranks or workers; NFDT has a server in addition, on the last host.
            Of two hosts the first has both workers.
        itemsize: Bytes of an element on its way to others; their mean, where not all
            elements are sent.
        options: Of ``run``.
        environ: Further variables.
        before: Epochs before the first that counts.
        links: Mbit/s of each epoch that counts; empty: the usual ones.
    """

    program: str
    hosts: int
    processes: int
    itemsize: float = 4
    options: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    before: int = 0
    links: tuple[int, ...] = ()

    @property
    def rates(self) -> tuple[int, ...]:
        """The links that it trains over, in Mbit/s; 0: none, as all are on one host."""
        if self.links:
            return self.links
        return RATES if self.hosts > 1 else (0,)

    def words(self, payload: Payload, folder: str) -> list[str]:
        """Return its command line.

        Args:
            payload: What is trained.
            folder: Where its script and who changes the links meet.
        """
        # HFDT's ranks share each batch, NFDT's workers take whole ones.
        shares = self.processes if self.program == "hfdt" else 1
        steps = payload.steps * self.processes // shares
        total = self.processes + (self.program == "nfdt")  # the server is one more
        slots = [len(range(host, total, self.hosts)) for host in range(self.hosts)]
        names = ",".join(f"node{i + 1}:{count}" for i, count in enumerate(slots))
        run = [sys.executable, "-m", f"{self.program}.cli", "run"]
        run += ["-np", str(self.processes), "-H", names, *self.options]
        sizes = {
            "width": payload.width,
            "batch": payload.batch_per_rank * shares,
            "steps": steps,
            "phases": len(self.rates),
            "before": self.before,
        }
        options = [word for key, n in sizes.items() for word in (f"--{key}", str(n))]
        return [*run, str(SCRIPT), *options, "--folder", folder]

    def update_bytes(self, payload: Payload) -> float:
        """Return the least that one update moves over a link, in one direction.

        Of n ranks each sends 2 (n - 1) / n times what it has to the others; a server
        gets one gradient, and returns parameters once.

        Args:
            payload: What is trained.
        """
        whole = float(payload.parameters * self.itemsize)
        if self.program == "nfdt":
            return whole
        return whole * 2 * (self.processes - 1) / self.processes


def _narrow(program: str, hosts: int) -> Job:
    option, value = {
        "hfdt": ("--compression", "bf16"),
        "nfdt": ("--wire", "bfloat16"),
    }[program]
    usual = _usual(program, hosts)
    return Job(program, hosts, usual.processes, 2, (option, value))


def _sparse(compression: str, ratio: float) -> Job:
    # Two ranks send each other values and places; twelve dense steps come before.
    options = ("--compression", compression)
    return Job("hfdt", 2, 2, 8 * ratio, options, before=3)


def _usual(program: str, hosts: int) -> Job:
    if program == "hfdt":
        return Job(program, hosts, MAX_HOSTS if hosts == 1 else hosts)
    return Job(program, hosts, 2)


JOBS: Mapping[str, Job] = {
    **{f"{p}-{n}": _usual(p, n) for p in ("hfdt", "nfdt") for n in (1, 2, 3)},
    **{f"{p}-{n}-16-bit": _narrow(p, n) for p in ("hfdt", "nfdt") for n in (2, 3)},
    **{f"hfdt-{n}-own-choice": Job("hfdt", n, 3, environ=_OWN_CHOICE) for n in (1, 3)},
    "hfdt-2-dgc": _sparse("dgc:0.001,warmup=0", 0.001),
    "hfdt-2-topk": _sparse("topk:0.01", 0.01),
}
# The large payload takes minutes to get to its first step over the slow link.
LARGE_JOBS = (
    *("hfdt-3", "hfdt-3-16-bit", "nfdt-3", "nfdt-3-16-bit"),
    *("hfdt-2", "hfdt-2-dgc", "hfdt-2-topk"),
)
