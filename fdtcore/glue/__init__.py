"""The binding of an engine to Keras: the only modules of fdtcore that import it.

===============  =========================================================
bind             START HERE: binds an engine, puts the rest in place
context          what is under way, and what was detected: the state of a binding
binding          which models and optimizers an engine owns
optimizer        ``Optimizer.apply``, where every training path ends
wrappers         optimizers that hold others, and which take the steps
collectives      values of Keras among ranks, by a framework's communicator
keras_internals  whatever of Keras and TensorFlow is not public, and nothing else
step             the step that is being traced or run
steps            training and testing on this rank's part of each batch
batches          batches as structures of tensors: size, part, empty
state            the values that training begins from, alike on all ranks
arrays           arrays as Keras batches them, and the rows behind indices
marks            what is known of a batch, carried with it to its step
data             the part of each batch that is this rank's
losses           losses that are no mean over samples
combining        how a value of a batch comes from the values of its parts
rehearsal        the first batch of a step, tried before it trains
rows             rows of all ranks, with a gradient for each rank's own
indexed_slices   sparse gradients, in which each row of a table stands once
generators       data sets of what Python code yields
allocation       the memory of a step serves the next one
readers          Python code that reads ahead rests while a step is tried
randomness       seeds that must be the same on every rank
metrics          metric state of all ranks
aggregation      how the state of a metric of the user's own combines
trackers         ``Mean`` and ``Sum`` that are given one value for a whole batch
fit              ``fit``, ``evaluate`` and the ``*_on_batch`` methods
snapshots        START HERE for resuming: what is kept, and given back
snapshot_choice  which snapshot a job begins with, of all its machines
snapshot_copies  what only rank 0 has of one, for those that keep copies
fit_run          a ``fit`` of which snapshots are taken
indexed_data     a ``PyDataset`` goes on at a batch, with the numbers of then
fit_identity     what tells it from another one
model_state      the variables of a model, of all ranks
callback_state   what callbacks hold
plain_values     values as JSON and arrays
generator_state  random generators of a process
callbacks        callbacks that act once; the one that keeps ranks in step
saving           files written once, whole or not at all
loading          what is loaded is rank 0's
native_files     TensorFlow's own functions for files, and h5py
file_views       a rank sees files as rank 0 left them when they last met
file_data        data sets over files, which wait for rank 0 to make them
file_caches      ``cache`` and ``snapshot``, one on each rank
checkpoints      TensorFlow's own checkpoints, saved models and summaries
calls            calls that every rank joins, also inside ``tf.function``
refusals         programs that TensorFlow distributes already
loops            loops that are written by hand
examination      a short run of a script, watched
===============  =========================================================
"""
