"""What Python does first in each process of a job that a test starts.

Importing TensorFlow makes a million objects and next to no garbage: looking for some
at every 700th is a fifth of the time in which a process starts.
"""

import gc

gc.set_threshold(50_000)
