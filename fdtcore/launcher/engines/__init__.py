"""Engines: other people's clusters, which start the processes of a job.

==============  ============================================================
choice          START HERE: what ``--on`` means, and what it starts
gang_job        one job in slots of Spark, Ray or Dask, as a small launcher
engine          what such an engine must do
dask            ... Dask
ray             ... Ray
spark           ... Spark
gang            the slots of a job: connections, commands, output, ends
submission      a job that an engine takes as a text
agent           what runs in each slot; sent there as text
mpi             ``mpirun`` in a gang: its daemons start through the agents
remote_shell    what mpirun calls in place of ssh
slurm           a job as a batch job of Slurm: submitted, shown, cancelled
==============  ============================================================

An engine that can run a function in N places at once (Spark, Ray, Dask) starts agents,
which connect back; commands, output and signals go over these connections. Slurm and
Kubernetes take a job as a text, and run ``hfdt run`` or ``nfdt run`` themselves.
"""
