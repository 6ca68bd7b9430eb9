"""The examination of a script, ``doctor SCRIPT``: is it safe to distribute?

===================  =======================================================
safety               START HERE: runs it for some steps, on one process and two
observations         what such runs have come to, and where they differ
random_generators    random numbers that no seed makes alike on all processes
===================  =======================================================

The examined process is watched by ``fdtcore/glue/examination.py``. May import
``shadow_files``.
"""
