"""Stands in front of matplotlib as sklearn.py in front of scikit-learn."""

raise ImportError("left out, as this job's program does not need it")
