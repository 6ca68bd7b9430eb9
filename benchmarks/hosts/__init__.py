"""Jobs on several hosts: HFDT and NFDT beside one host, and beside the wire itself.

START HERE: ``jobs.py`` says who runs where. ``measurement.py`` makes the hosts, runs
the jobs in turn and changes the links under them; ``targets.py`` says what is wanted,
``report.py`` shows what was found.
"""
