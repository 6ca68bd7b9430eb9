"""The control line: a connection of each rank that carries failures and stacks.

A TCP connection of each rank to the one that keeps the hub, beside those that carry
gradients: rank 0, or the first parameter server.

================= =========================================================
control_line      START HERE: a rank's end of the line
hub               the protocol of the hub: messages in, messages out
stall             who waits for whom, and when that is a stall
process_identity  one process of a machine: whether it is stopped, its end
sockets           the sockets of the hub
channel           messages as JSON lines; nothing is unpickled
endpoint          where the hub is, and the token that lets a rank in
first_failure     the first failure as each rank learns of it
excepthook        what a process does with an exception that nobody caught
deadline          ends a process whose main thread no longer can
================= =========================================================

``hub`` and ``stall`` are pure: no sockets, no clock. May import ``failures``,
``output``, ``process`` and ``tracebacks``.
"""
