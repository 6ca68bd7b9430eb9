"""Numbers too small for full precision, which are taken for zero while a rule runs.

The moving average of a gradient that stays zero, as that of a unit that is never
active, shrinks by the same factor in each step. After some hundred steps it is below
the smallest normal number, 1.2e-38 in float32. There it comes to rest, and a processor
takes up to forty times as long for each operation on it. TensorFlow takes such numbers
for zero in all that it computes; NumPy does as the control of its thread says.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
from collections.abc import Iterator
from typing import NamedTuple

_C = ctypes.CDLL(None)
# What C keeps of the unit for floating point, in words; enough for each known machine.
_Environment = ctypes.c_uint32 * 16


class Control(NamedTuple):
    """What tells a processor, in what C keeps of its unit for floating point."""

    word: int
    bits: int


_CONTROLS = {
    "x86_64": Control(7, 0x8040),  # MXCSR: results to zero, operands as zero
    "aarch64": Control(0, 1 << 24),  # FPCR: both
}


@functools.cache
def control_of_this_machine() -> Control | None:
    """Returns the control, None where it is not known: numbers stay as they are."""
    known = platform.system() == "Linux" and hasattr(_C, "fesetenv")
    return _CONTROLS.get(platform.machine()) if known else None


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Takes subnormal numbers for zero in this thread while the block runs."""
    control = control_of_this_machine()
    if control is None:
        yield
        return
    before = _Environment()
    _C.fegetenv(before)
    now = _Environment(*before)
    now[control.word] |= control.bits
    _C.fesetenv(now)
    try:
        yield
    finally:
        _C.fesetenv(before)
