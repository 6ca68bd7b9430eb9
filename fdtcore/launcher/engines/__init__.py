"""Engines: other people's clusters, which start the processes of a job.

==============  ====================================================="""
