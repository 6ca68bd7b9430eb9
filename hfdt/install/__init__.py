"""The installation of a Horovod that fits TensorFlow, and its checks.

==============  ============================================================
install         START HERE: ``hfdt install-horovod``
stack           what it is built for: Python, TensorFlow, MPI, GPUs (``gpu``)
sources         Horovod's sources, fetched, checked and adapted
compilation     a long compilation, shown as one line
wheel           the wheel, kept in the user's cache
doctor          ``hfdt doctor``: what works, and a cure for what does not
checks          its checks
trial           its job of two processes, each of which runs ``selftest``
==============  ============================================================

Imports nothing else of hfdt.
"""
