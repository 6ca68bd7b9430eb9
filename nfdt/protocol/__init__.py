"""The protocol: messages in, messages out. No MPI, no Keras, no clock.

==============  ============================================================
messages        START HERE: what workers and servers say to each other
shard_server    the server of one shard, as a state machine
shard_state     what it knows of each worker, and of what it holds
controllers/    who waits, and which gradients form one update
server          a server process: groups, leases, meetings, who is there
epoch_id        an epoch of a fit, as a pair and as the integer that travels
leases          which worker has which batches, in every epoch
rendezvous      what all workers bring goes to all
client          a worker's side: a vector on the servers
transport       how a worker reaches its servers; the way within a process
topology        which part of the vector, which rank is whose
gradients       gradients as bytes: vectors and rows
elements        some elements of a vector as bytes
group_spec      what a worker says of a group of variables when it opens it
serialization   descriptions, lists and the state of rules as bytes
checkpoints     what a server keeps of a run, with worker 0's notes
events          what the trace tells; ``event_log`` keeps it
step_times      where the time of a worker's steps went
==============  ============================================================

May import ``rules``.
"""
