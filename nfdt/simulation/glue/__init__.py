"""Simulated workers behind Keras.

==============  ============================================================
api             ``nfdt.simulate``
engine          START HERE: the engine of the one process that plays all workers
worker_state    the state of each of them
==============  ============================================================
"""
