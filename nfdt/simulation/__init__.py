"""The cluster that is not there: the real server and gradients, in virtual time.

=======================  ========================================================
driver                   START HERE: workers in virtual time, over real services
wishes                   what it asks for, and is sent
moves, members, speech   what a worker does next; what it has in hand; what it says
post, network, agenda    when messages arrive; the heap of events
cluster, parts, changes  what it runs on, and what happens to it
durations                how long a step takes
clusterfile, clustertext a cluster's file, read and written
yamlnodes, quantities    ... with lines and units
limits                   what cannot be simulated
transport, glue/         the way below Keras: ``nfdt simulate``, ``nfdt.simulate``
starting                 from the environment of a process to its engine
comparing, outcome       ``nfdt compare``: runs side by side, and which is best
comparedraw              ... and their picture
forecasting              times alone, without gradients
calibration, costing     ``nfdt calibrate``: this machine, as a cluster's file
measuring                ... from a real run
=======================  ========================================================
"""
