"""What is trained to measure a step, and in which fits; no framework."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple


class Fit(NamedTuple):
    """The size of one call of ``fit``; the first of each size only warms up."""

    batches: int  # of one epoch, for each rank
    epochs: int

    def __str__(self) -> str:
        """Return it as the contenders' command lines take it."""
        return f"{self.batches}x{self.epochs}"

    @classmethod
    def read(cls, text: str) -> "Fit":
        """Return what a word of these command lines means.

        >>> Fit.read("60x2")
        Fit(batches=60, epochs=2)
        """
        batches, epochs = text.split("x")
        return cls(int(batches), int(epochs))


@dataclass(frozen=True)
class StepWork:
    """One model in one kind of fits, the same for every contender.

    Args:
        name: Word for it on the command line and in files.
        title: How tables name it.
        model: One of ``contenders/networks.py``.
        batch: Samples that each rank computes in one step.
        fits: In order.
        contenders: Who trains it.
        data: What ``fit`` reads: arrays, a ``PyDataset``, or a generator.
    """

    name: str
    title: str
    model: str
    batch: int
    fits: tuple[Fit, ...]
    contenders: tuple[str, ...]
    data: str = "arrays"

    @property
    def tail(self) -> Fit:
        """The untimed fit with which a copy stays busy while another is timed."""
        return Fit(max(fit.batches for fit in self.fits), 1)

    def shortened(self) -> "StepWork":
        """Return the same work with just enough steps to see that it runs."""
        sizes = sorted({fit.batches for fit in self.fits})
        few = {batches: 2 * (index + 1) for index, batches in enumerate(sizes)}
        fits = (Fit(few[fit.batches], min(fit.epochs, 3)) for fit in self.fits)
        return replace(self, fits=tuple(fits))


def _slope(batches: int, shorter: int = 2, longer: int = 6) -> tuple[Fit, ...]:
    return tuple(Fit(batches, epochs) for epochs in (1, shorter, longer))


# Ours at another commit stand beside ours.
_SERVED = ("nfdt-asgd", "nfdt")
_OURS = ("hfdt", *_SERVED)
_BEFORE = tuple(f"{name}-before" for name in _OURS)
_ALL = ("copies", "hand", *_OURS, *_BEFORE)
_READ = ("alone", "hfdt-one", "copies", "hfdt")
_FITTING = ("copies", "hfdt", "hfdt-before")
_UNTUNED = ("copies", "hand", *_OURS)

# An epoch of one batch is little more than its end; one of fifty tells a step from it.
_MANY_FITS = (Fit(1, 1), *[Fit(1, 1), Fit(1, 11)] * 5)
_MANY_FITS += (Fit(50, 1), *[Fit(50, 1), Fit(50, 5)] * 5)

SERVER = "server"  # trains nothing, but is chosen as a work is
UPDATING = (SERVER, f"{SERVER}-before")
SMALL = ("deep", "dense")
UNTUNED = ("recurrent", "embedding", "transformer", "residual", "wide")
MANY = ("cnn", "mlp")  # what many processes train
_CNN = "CNN of 0.84 M"

WORKS: Mapping[str, StepWork] = {
    work.name: work
    for work in (
        StepWork("deep", "ten Dense 64", "deep", 32, _slope(240), _ALL),
        StepWork("dense", "Dense 1024", "dense", 32, _slope(120), _ALL),
        StepWork("cnn", f"{_CNN}, epochs of 60", "cnn", 128, _slope(60), _ALL),
        StepWork(
            "cnn-long",
            f"{_CNN}, epochs of 240",
            "cnn",
            128,
            _slope(240, 1, 3),
            ("copies", *_SERVED, *(f"{name}-before" for name in _SERVED)),
        ),
        *(
            StepWork(
                f"cnn-{data}", f"{_CNN}, {title}", "cnn", 128, _slope(60), _READ, data
            )
            for data, title in (
                ("pydataset", "read from a PyDataset"),
                ("generator", "read from a generator"),
            )
        ),
        StepWork("recurrent", "LSTM 128", "recurrent", 128, _slope(30), _UNTUNED),
        StepWork("embedding", "embedding", "embedding", 1024, _slope(30), _UNTUNED),
        StepWork("transformer", "transformer", "transformer", 32, _slope(30), _UNTUNED),
        StepWork("residual", "residual network", "residual", 64, _slope(30), _UNTUNED),
        StepWork("wide", "wide MLP of 3.7 M", "wide", 256, _slope(30), _UNTUNED),
        StepWork(
            "fit",
            "calls of fit",
            "deep",
            32,
            _MANY_FITS,
            ("copies", "hfdt", _BEFORE[0]),
        ),
        StepWork("mlp", "MLP of 7.9 M", "mlp", 128, _slope(30), ("copies", *_OURS)),
    )
}
