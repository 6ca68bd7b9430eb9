"""Controllers: who waits, and which held gradients form one update.

A controller sees the whole ledger after every push, step and departure, and answers
with what to do now. A worker that ends or dies leaves the ledger, so nobody waits for
it, and no controller needs a special case.

==============  ============================================================
decisions       START HERE: what a controller sees, and what it answers
barriers        a worker that leads by too much waits: SSP; its ends ASP and BSP
rounds          rounds of k of n gradients, with backup workers, or of local steps
dynamic         barriers that follow the workers' speeds (DSP)
==============  ============================================================
"""

from nfdt.protocol.controllers.barriers import (
    Asynchronous,
    BulkSynchronous,
    StaleSynchronous,
)
from nfdt.protocol.controllers.decisions import Controller, Decision, Ledger
from nfdt.protocol.controllers.dynamic import DynamicSynchronous
from nfdt.protocol.controllers.rounds import Backup, LocalSteps, Partial

__all__ = [
    "Asynchronous",
    "Backup",
    "BulkSynchronous",
    "Controller",
    "Decision",
    "DynamicSynchronous",
    "Ledger",
    "LocalSteps",
    "Partial",
    "StaleSynchronous",
]
