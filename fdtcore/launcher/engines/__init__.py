"""Engines: batch systems and schedulers that start the processes of a job elsewhere.

Each module knows one of them. Which framework runs, it learns from the name that it is
given. `kubernetes` only prints: a job of `pod_job` in, YAML for ``kubectl apply`` out;
`yaml_text` writes it, and `host_wait` is what its pods call before they start.
"""
