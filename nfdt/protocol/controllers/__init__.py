"""Who waits, and which held gradients form one update.

A controller sees the whole ledger after every push, step and departure, and answers
with what to do now. A worker that finishes or dies simply leaves the ledger, so that
nobody waits for it, and no controller needs a special case.

==============  ============================================================
decisions       START HERE: what a controller sees, and what it answers
asynchronous    nobody waits (ASP)
bulk            everybody waits for everybody (BSP)
stale           who leads by too much waits (SSP)
partial         a round closes when most gradients are in: k of n, backups
local           rounds of local steps of the workers
dynamic         barriers that come when they must (DSP); its ``thresholds``
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
