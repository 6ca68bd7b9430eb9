"""Settings of glibc's allocator that keep the memory of a step for the next one.

Buffers from the mmap threshold on are mapped when they are allocated, and unmapped when
they are freed: the kernel clears each page of them anew, in every step. glibc raises
the threshold, from 128 KiB, to the size of what is freed, until a program sets it.
TensorFlow does, to 128 KiB: 2.21 on Python 3.11 and 3.12, when the process makes its
first ``GeneratorDataset``, through which ``tf.data.Dataset.from_generator`` and Keras's
``PyDataset`` are read. A training step then takes ten thousands of page faults where
its tensors come from ``malloc``: on a CPU for which TensorFlow does not use oneDNN.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

# Of <malloc.h>.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MIB = 1 << 20
SETTINGS = {
    # The largest that glibc accepts, and the largest that it would choose by itself.
    _M_MMAP_THRESHOLD: 32 * _MIB,
    # What is freed at the end of a heap stays there, too.
    _M_TRIM_THRESHOLD: 1024 * _MIB,
    # The size of a heap: threads other than the first have several, and one that is
    # empty is unmapped whatever the other threshold says, unless the next one is full.
    _M_TOP_PAD: 64 * _MIB,
}


def is_chosen(environ: Mapping[str, str]) -> bool:
    """Whether the user has chosen how memory is allocated.

    Args:
        environ: The environment of this process.
    """
    tunables = environ.get("GLIBC_TUNABLES", "")
    return "glibc.malloc." in tunables or any(
        name.startswith("MALLOC_") for name in environ
    )


def keep_freed_memory(environ: Mapping[str, str]) -> bool:
    """Makes glibc keep freed memory in this process, instead of the kernel.

    Args:
        environ: The environment of this process; a choice of the user's stays, and so
            does another allocator that is loaded in place of glibc's.

    Returns:
        Whether it does.
    """
    program = ctypes.CDLL(None)
    if is_chosen(environ) or not hasattr(program, "gnu_get_libc_version"):
        return False
    libc = ctypes.CDLL("libc.so.6")
    if _address(program.malloc) != _address(libc.malloc):
        return False
    return all([libc.mallopt(name, value) for name, value in SETTINGS.items()])


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value
