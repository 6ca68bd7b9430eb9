"""The training scripts that are compared; each prints one JSON line when done."""
