"""The Keras side; with ``nfdt.api`` the only modules that load TensorFlow.

==============  ============================================================
engine          START HERE: gradients go to the servers, parameters come back
applying        one step of an optimizer: what is sent, what comes back
groups, flat    all that optimizers train; the variables of one as a vector
training        ``fit`` and ``evaluate``
leasing         data adapters whose batches are leased, or dealt in turn
epochs, passes  which epoch a worker is in, and its batches
epochloop       Keras's loop over an epoch, until no batch is left
taking          batches that are taken before their step
stepping        one step on a batch that is marked
acting          which callbacks run on which worker; ``understudies`` of those of 0
gathering       what all workers tell each other
replicas        steps that all workers make, in loops without a data set
tallies         what layers count and average, brought together
turns           one call to the servers at a time
apart, local    a worker's own optimizer, and what it then sends
monitoring      how a worker and its machine fare, for DSP
slots           the state of an optimizer, here and in pieces on the servers
resuming        a worker's part in going on with an interrupted run
making          from a description to the server of a shard
keras_update    updates by any optimizer of Keras; its ``constraints``
keras_optimizers  what is asked of the user's optimizers
descriptions    what servers are told of them; ``rates`` that follow something
==============  ============================================================
"""
