"""Snapshots of a job: the files, when they are written, and who asks for one.

Nothing here knows Keras: arrays and plain values go in and come out.

===============  =========================================================
folder           START HERE: the snapshots of one job, and which one counts
copies           those in the memory of the job's other machines
tensor_file      one file: arrays and a description, whole or refused
writer           files written by a thread while training goes on
position         where a job is in its training, also after it was killed
cadence          the time or the steps between two snapshots
stop_requests    signals that ask for a snapshot and the end
===============  =========================================================
"""
