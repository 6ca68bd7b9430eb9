"""The Keras side; with ``nfdt.api`` and those of a simulation all that load TensorFlow.

=================  =========================================================
engine             START HERE: what a worker is made of, put together
training           the strategy: gradients go to servers, parameters come back
push_pull          one step of an optimizer: what is sent, what comes back
variable_group     what one optimizer trains, as a vector; ``groups``: all
epochs             which epoch a worker is in, and its batches
leased_data        data adapters whose batches are leased, or dealt in turn
keras_loop         Keras's loop over an epoch, and one step on a leased batch
batch_iterator     batches that are taken before their step
callbacks          which callbacks run on which worker
collectives        what all workers tell each other; ``communicator``: how
absence            whether servers wait for the pushes of a worker
replicated_steps   steps that all workers make, in loops without a data set
local_training     a worker's own optimizer, and what it then sends
compression        what is done to gradients of which a part is sent
monitor            how a worker and its machine fare, for DSP
layer_state        what layers count and average, brought together
optimizer_state    the state of an optimizer, here and in pieces on the servers
optimizer_config   what servers are told of it; ``learning_rates`` that follow
shard_factory      from a description to the server of a shard
server_optimizer   updates by any optimizer of Keras, and its constraints
resumption         a worker's part in going on with an interrupted run
=================  =========================================================

May import ``protocol``, ``rules`` and the tables of the top level.
"""
