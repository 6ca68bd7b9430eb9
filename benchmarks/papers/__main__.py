"""``python -m benchmarks.papers``: all claims, seed by seed."""

from benchmarks.papers import (
    compression,
    dc_asgd,
    ddc_asgd_cifar10,
    ddc_asgd_fashion_mnist,
    dsp,
    dsp_changing,
    server_rate,
    tan,
)
from benchmarks.papers.command import command

# The short ones first.
CLAIMS = [
    module.CLAIM
    for module in (
        server_rate,
        dsp,
        dsp_changing,
        ddc_asgd_fashion_mnist,
        dc_asgd,
        ddc_asgd_cifar10,
        tan,
        compression,
    )
]
main = command(CLAIMS, "Put all claims to the test, and write a page for each.")

if __name__ == "__main__":
    main()
