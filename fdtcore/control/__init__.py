"""The control line: what goes wrong on one rank is known to every rank.

A TCP connection of each rank to rank 0, beside the one that carries gradients.

==============  ============================================================
control_line    START HERE: a rank's end of the line
hub             the protocol on rank 0: messages in, messages out
stall           who waits for whom, and when that is a stall
sockets         the sockets of rank 0
channel         messages as JSON lines; nothing is unpickled
endpoint        where rank 0 is, and the token that lets a rank in
first_failure   the first failure as each rank learns of it
excepthook      what a process does with an exception that nobody caught
deadline        ends a process whose main thread no longer can
==============  ============================================================

``hub`` and ``stall`` are pure: no sockets, no clock. May import ``failures``,
``output``, ``process`` and ``tracebacks``.
"""
