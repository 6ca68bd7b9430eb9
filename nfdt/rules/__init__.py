"""The mathematics: what is done to a gradient, and how it becomes an update. Pure.

==================  ========================================================
corrections         START HERE: what a correction is; plain, by staleness, by gap
delay_compensation  corrections by a Taylor term: DC-ASGD, and that of DDC-ASGD
optimizers          what an optimizer is; SGD, and the pull of EASGD
averaging           optimizers that average: DC-ASGDK, DDC-ASGD
rule_state          the state of a rule, cut to blocks and written in place
blocks              the blocks of a vector: who visits them, where results lie
subnormals          numbers too small for full precision, taken for zero
updates             correct each, merge them, step once; block by block
delays              what delay is usual
layer_state         counts and averages of several workers, merged to one value
==================  ========================================================

Imports nothing else of nfdt.
"""
