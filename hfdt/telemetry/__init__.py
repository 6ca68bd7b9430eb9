"""The record of a run: a file for each rank, and the report that is made of them.

==========  ================================================================
report      START HERE: a picture, a page and a file for Perfetto, from a trace
recorder    the lines that a rank writes of its run
trace       ... read again: the lives of a job, each with its ranks
steps       when a rank computed, waited and exchanged, from its operations
summary     means over the steps, and each rank's row
figure      the picture
perfetto    trace events
==========  ================================================================

Imports no TensorFlow. What NFDT's report is drawn with as well is in
``fdtcore.telemetry``.
"""
