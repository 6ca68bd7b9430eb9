"""``python -m nfdt.cli``: the command line, where its script is not installed."""

from nfdt.cli import main

main()
