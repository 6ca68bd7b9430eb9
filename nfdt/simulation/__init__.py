"""The simulated cluster: the real servers and gradients, in virtual time.

==============  ============================================================
simulator       START HERE: workers in virtual time, over real servers
workers         a worker: what it has in hand, what it says, what it asks for
worker_process  what a worker does next
network         when messages arrive
event_queue     the heap of events
supported       what cannot be simulated
transport       the way below Keras, for ``nfdt simulate``
launch          from the environment of a process to its engine
glue/           the engine of a simulation; ``nfdt.simulate``
==============  ============================================================

May import ``clusters``, ``glue``, ``options``, ``protocol``, ``rules`` and
``telemetry``.
"""
