"""Telemetry: the trace of a run, its summary, and the report drawn from it.

==============  ============================================================
trace           one JSON object a line, written as the run goes
summary         the three lines at its end; ``cycles`` of a worker's time
report          START HERE: from a trace to a picture, a page, a file for Perfetto
timeline        spans of the workers, from the pushes
worker_outcomes what became of each worker
figure, panels  the picture; ``dsp_panels``, what it shows of DSP
html_page       the page
perfetto        Chrome trace events
recorder        what the first server writes of a run
==============  ============================================================

May import ``protocol`` and ``rules``.
"""
