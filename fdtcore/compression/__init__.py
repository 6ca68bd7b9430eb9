"""Gradients that take fewer bytes on their way, in plain NumPy.

A compressor turns this rank's gradient into the sum over all ranks, as far as it is
sent now, and keeps what is left for later steps. What it keeps is in `state`.

===================  =============================================================
specification        what a user writes: topk:0.01, dgc:0.001,warmup=4
layout               the place of each variable in one vector
selection            the largest elements of a vector, exactly
exchange             what ranks do together, and one rank alone
compressor           what all compressors have in common
top_k                the largest elements, with error feedback
deep_gradient        the same with momentum correction: Deep Gradient Compression
sparsity             the warm-up of its sparsity
sign                 signs and one scale for each variable, with error feedback
power_sgd            matrices of low rank, with error feedback
factory              the compressor of a choice, and the reader of its messages
===================  =============================================================
"""
