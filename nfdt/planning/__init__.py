"""Planning without a cluster: what to expect of one, and how to train on it.

==============  ============================================================
comparison      ``nfdt compare``: several ways to train, side by side
outcome         what one run has come to, and which is best
forecast        times alone, without gradients
measurement     ``nfdt calibrate``: a real run, measured
calibration     from what was measured to a cluster's file
probe           what one step costs this machine
==============  ============================================================

May import ``simulation``, ``clusters``, ``telemetry`` and what stands below them.
"""
