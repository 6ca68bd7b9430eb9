"""Several machines on one: what crosses a network, tried on hosts that tests make."""
