"""The client side that every framework of this project shares.

==================  ========================================================
engine              START HERE: what a framework supplies to be bound to Keras
process             who am I: one process of a job
mpi_library         whether MPI and the launcher of a process know each other
glue/               binds an engine to Keras: the only importers of TensorFlow
control/            the control line: what goes wrong on one rank is known to all
launcher/           from ``run`` and its words to a job, supervised to its end
shadow_files/       files that a program writes on other ranks than 0
compression/        gradients that take fewer bytes on their way
snapshots/          the files from which an interrupted job goes on
telemetry/          the record of a run, and what is drawn of it
examination/        ``doctor SCRIPT``: is a script safe to distribute?
rank_program        ``python -m FRAMEWORK SCRIPT``: one process of a job
spare               ... that has loaded TensorFlow, and waits to become one
function_program    ... that calls a function
function_calls      the call and its results, on their way between processes
shutdown            the last words of a process, its exit, a barrier before it
user_program        what the user asks to run, checked, and run
failures            one failure: what, where, on which rank
tracebacks          tracebacks and stacks without the project's own frames
output              rank 0 has the terminal, the others a file each
message_log         a line for each message, by Python's ``logging``
settings            environment variables that let ranks share a machine
options             options, each declared once; read from variables
option_tables       their table and page, as Markdown
text_values         switches, numbers and times as people write them
validation          the rules of options: rule, what was received, way out
keras_types         names for what Keras and TensorFlow hand over, untyped
batch_shares        which samples of a batch are whose
training_loops      the loops of a program that train
threads, evidence   one thread trains; whether this process has trained
allocator           glibc's, which keeps the memory of a step for the next one
atomic_files        files that are there whole or not at all
interfaces          network interfaces, and which of them reaches the others
==================  ========================================================

Imports neither ``hfdt`` nor ``nfdt``, and starts nothing. setup.cfg declares which
module stands above which.
"""
