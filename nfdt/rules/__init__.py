"""The mathematics: what is done to a gradient, and how it becomes an update. Pure.

==============  ============================================================
corrections     START HERE: what a correction is; plain, by staleness, by gap
taylor          corrections by a Taylor term: DC-ASGD, and that of DDC-ASGD
optimizers      what an optimizer is; SGD, and the pull of EASGD
averaging       optimizers that average: DC-ASGDK, DDC-ASGD
updates         correct each, merge them, step once; block by block
delays, norms   what delay is usual; sums of squares
regret          what is proved of DSP: its step size, its bounds
finite          whether a gradient is finite
tallies         what workers have each counted or averaged, as one value
demands         the wording of what a rule demands of its options
==============  ============================================================
"""
