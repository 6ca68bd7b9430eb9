"""The protocol: messages in, messages out. No MPI, no Keras, no clock.

==============  ============================================================
messages        START HERE: what workers and servers say to each other
server          the parameter server: one shard, as a state machine; what it is
                made of: ``attendance``, ``copies``, ``held``, ``refusals``
service         a server process: groups, leases, meetings, who is there
controllers     who waits, and which gradients form an update: a package
leases          which worker has which batches; ``ledgers`` of all epochs
meetings        what all workers bring goes to all
worker          a worker's side: a vector on the servers
transport       how a worker reaches its servers; the way within a process, where
                ``asking`` holds threads that ask for batches
shards, roles   which part of the vector, which rank is whose
events          what the trace tells, as ``records`` keeps it; ``readings`` of monitors
packets         descriptions and lists as bytes
gradients       gradients as bytes: vectors and rows
states          the state of rules as bytes
checkpoints     what a server keeps of a run; ``keepsakes``, with worker 0's notes
==============  ============================================================
"""
