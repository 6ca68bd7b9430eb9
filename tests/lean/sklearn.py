"""Stands in front of scikit-learn in jobs whose programs need none.

Keras imports it where it is installed, and matplotlib: a quarter of the time in which
each process of a job starts.
"""

raise ImportError("left out, as this job's program does not need it")
