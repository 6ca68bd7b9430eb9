"""The launcher: one job, from the words of ``run`` to its exit code.

==============  ============================================================
foreground      START HERE: one job from its first line to its last
elastic         ... started again on what is left, where it has lost processes
spares          ... by processes that have loaded TensorFlow, and wait
stand_in        ... which a launcher's small process hands its place to
discovery       a program of the user's that names machines
function_job    ``hfdt.run`` and ``nfdt.run``: a function as a job
attached        the command that ends with the process that started it
request         what a user asks of ``run``, and the rules for it
cli_options     ... as options of commands; those of a framework
report_command  ``report``: the trace of a job, drawn
terminal        what a command says of itself
hosts           host lists: from the command line, files and Slurm
jobs            from what was asked for, and the machine, to a job
launchers       ``mpirun`` and ``srun``: a job as one command line
mpirun          which ``mpirun`` this machine has, and whose it is
preflight       are the machines of a job there, and alike? before it starts
probe           ... asked on each of them
network         the network between them, and how MPI is told
machines        ``doctor -H``: machines, and what is between them
link            ... measured on each of them
supervisor      forwards output and signals, and leaves nothing running
descendants     every process that a job has left behind
banners         what ``mpirun`` and ``srun`` say about a job that failed
explanation     the last line: what went wrong, where, and what to do
engines/        Spark, Ray, Dask, Slurm and Kubernetes in place of mpirun
==============  ============================================================

May import the modules of fdtcore that know no Keras; never ``fdtcore.glue``.
"""
