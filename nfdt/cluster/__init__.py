"""Processes: a worker's and a server's, over MPI, from start to end.

==============  ============================================================
runtime         START HERE: starts this process's part of a job
alone           a worker whose servers are in its own process
mpi, tags       this process's end of a job, alone imports mpi4py; its lines
wire            a worker's way to its servers, and a server's to its workers
waiting         waiting without taking a core
serverprogram   a server process from its first line
serving         what it does, from its start to its end
pushes          where it reads gradients into
departures      who has left, how, and whether the job goes on
ending          how it tells that the job is over
memory          when it writes checkpoints, and which one it goes on from
keeping         files of checkpoints
leaving         how a worker leaves: in order, by an exception, with the job
standing        where a worker is that does not end
colleagues      how servers end together
parting         how processes part when all is done
rehearsal       a worker of ``nfdt calibrate``
==============  ============================================================
"""
