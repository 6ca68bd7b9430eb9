"""Clusters as data: machines, links, step times, and what happens to them.

==============  ============================================================
cluster         START HERE: a cluster as a whole
machines        its parts, and changes of them in the course of a run
step_times      how long a step takes
cluster_yaml    a cluster's file, read; ``cluster_text`` writes one
yaml_values     values of a YAML file, with their lines
units           bandwidths, counts and facts of such a file
==============  ============================================================

Imports nothing else of nfdt.
"""
