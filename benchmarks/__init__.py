"""Speed of HFDT and NFDT beside their alternatives, in interleaved rounds.

``python -m benchmarks`` measures and prints ratios; ``python -m benchmarks profile``
shows where the time of one HFDT step goes, ``python -m benchmarks exchange`` what one
exchange of NFDT costs, ``python -m benchmarks steps`` what a step costs beside what
its operators take. Importing this package starts nothing.
"""
