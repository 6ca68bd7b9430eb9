"""Simulated workers behind Keras.

==============  ============================================================
api             ``nfdt.simulate``
engine          START HERE: the engine of the one process that plays all workers
locally         what each of them has of its own
==============  ============================================================
"""
