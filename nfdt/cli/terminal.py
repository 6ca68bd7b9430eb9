"""The messages of the command ``nfdt``."""

from fdtcore.launcher.terminal import Terminal

TERMINAL = Terminal("nfdt")
