"""What is written down of a run, and drawn.

==============  ============================================================
trace           one JSON object a line, written as the run goes
summary         the three lines at its end; ``cycles`` of a worker's time
report          START HERE: from a trace to a picture, a page, a file for Perfetto
timeline        spans of the workers, from the pushes
fates           what became of each worker
drawing, panels the picture; ``dynamics``, what it shows of DSP
page            the page
perfetto        Chrome trace events
recording       what the first server writes of a run
==============  ============================================================
"""
