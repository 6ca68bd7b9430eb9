"""Speed of HFDT beside its alternatives, on one machine, in interleaved rounds.

``python -m benchmarks`` measures and prints ratios; ``python -m benchmarks profile``
shows where the time of one HFDT step goes. Importing this package starts nothing.
"""
