"""DDC-ASGD > DC-ASGDK, ASGD in test accuracy, on Fashion-MNIST.

Claim: A thesis that is known by its abstract only (docs/ddc-asgd.md): in test accuracy
DDC-ASGD is above DC-ASGDK and above ASGD, on Fashion-MNIST and on CIFAR-10.

    python -m benchmarks.papers.ddc_asgd_fashion_mnist [--quick]
"""

from benchmarks.papers.command import command
from benchmarks.papers.comparison import claim

CLAIM = claim("fashion_mnist", "ddc_asgd_fashion_mnist", __doc__)
main = command([CLAIM], CLAIM.title)

if __name__ == "__main__":
    main()
