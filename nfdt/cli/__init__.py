"""The command line: ``nfdt run``, ``simulate``, ``compare``, ``calibrate``, ``report``.

Read ``command`` first: ``nfdt run``, from its words to its exit code. ``flags`` makes
the fields of `Options` options of commands; ``job_setup`` goes from the words to a job:
sizes, checks, the launcher. ``simulate``, ``calibrate`` and ``inspection`` hold the
other commands. May import everything of nfdt and ``fdtcore.launcher``.
"""

from nfdt.cli.command import main

__all__ = ["main"]
