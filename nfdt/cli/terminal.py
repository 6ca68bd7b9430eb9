"""What ``nfdt`` says of itself."""

from fdtcore.launcher.terminal import Terminal

TERMINAL = Terminal("nfdt")
