"""The record of a run: trace, summary and report.

===============  ===========================================================
trace            one JSON object a line, written as the run goes
summary          the lines at the end of a run, and shares of waiting
report           START HERE: a picture, a page and a file for Perfetto, from a trace
timeline         spans of the workers, from the pushes
worker_outcomes  the outcome of each worker
figure, panels   the picture; ``dsp_panels``, the part about DSP
perfetto         trace events
recorder         the records that the first server writes of a run
message_log      each message between worker and server as a line
===============  ===========================================================

May import ``options``, ``protocol`` and ``rules``; what is drawn and written as HFDT's
reports are is in ``fdtcore.telemetry``.
"""
