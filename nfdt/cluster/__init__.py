"""Processes: a worker's and a server's, over MPI, from start to end.

==================  ========================================================
runtime             START HERE: starts this process's part of a job
mpi                 this process's end of a job; alone imports mpi4py
mpi_transport       a worker's way to its servers, a server's to its workers
in_process          a worker whose servers are in its own process
server_loop         what a server process does, from its first line to its end
membership          who has left, how, and whether the job goes on
server_shutdown     how servers end together, and what they say then
worker_exit         how a worker leaves: in order, by an exception, with the job
checkpoint_store    when a server writes checkpoints, their files, and resuming
job_watch           the control line: who hangs is known to the rest
stall_monitor       who waits in vain among workers and servers
calibration_worker  a worker of ``nfdt calibrate``
==================  ========================================================

May import ``planning``, ``simulation``, ``glue``, ``options``,
``protocol`` and ``telemetry``.
"""
