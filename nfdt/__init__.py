"""NFDT: asynchronous distributed training through a parameter server.

Not here yet; ``hfdt`` is the synchronous framework.
"""
