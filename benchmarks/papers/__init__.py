"""START HERE: what papers say, put to the test in virtual time.

========================== ==========================================================
module                     claim
========================== ==========================================================
``ddc_asgd_fashion_mnist`` DDC-ASGD above DC-ASGDK and ASGD
``ddc_asgd_cifar10``       the same
``server_rate``            what the server's own learning rate does
``dsp``                    DSP between BSP and SSP, in accuracy and in time
``dsp_changing``           DSP above SSP while speeds change
``dc_asgd``                DC-ASGD-a above DC-ASGD-c above ASGD
``tan``                    the table of accuracies that comes with DDC-ASGD's rules
``compression``            compressed gradients as good as dense ones
========================== ==========================================================

``python -m benchmarks.papers.NAME`` does the runs that are missing and writes
``results/NAME.md``; ``--quick`` tries everything in seconds; ``python -m
benchmarks.papers`` does all, in this order.

A :mod:`~benchmarks.papers.claim` has runs, a judge, tables and a picture. A run
(:mod:`~benchmarks.papers.runs`) is a function of its settings and its seed
(:mod:`~benchmarks.papers.training`): real gradients of a small network
(:mod:`~benchmarks.papers.works`), and the server of the real jobs in virtual time
(:mod:`~benchmarks.papers.served`), or HFDT's ranks (:mod:`~benchmarks.papers.ranks`).
Results are kept run by run (:mod:`~benchmarks.papers.records`), so that any
interruption costs the run that it hits. Verdicts follow from the results by one rule
(:mod:`~benchmarks.papers.verdicts`).
"""
