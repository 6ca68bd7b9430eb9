"""The command line of nfdt.

================  ==========================================================
command           START HERE: ``nfdt run``, from its words to its exit code
job_setup         sizes, checks and the launcher of a job
simulate          ``nfdt simulate`` and ``nfdt compare``
calibrate         ``nfdt calibrate``
inspection        ``nfdt report``, ``nfdt algorithms``, ``nfdt doctor``
mpi_gang          processes in slots of an engine, by MPI
terminal          what the command says of itself
algorithm_table   the algorithms and their equations, as text
================  ==========================================================

May import everything of nfdt; nothing imports it.
"""

from nfdt.cli.command import main

__all__ = ["main"]
