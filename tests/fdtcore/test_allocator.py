"""glibc keeps what is freed, unless the user has chosen otherwise."""

import ctypes
import platform
import sys
import types

import pytest

from fdtcore import allocator
from tests.processes import run

# Page faults of ten buffers of 8 MiB, one after the other, before and after.
PROGRAM = """
import ctypes, os, resource
import numpy as np
from fdtcore import allocator

def faults():
    first = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(1 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - first

ctypes.CDLL(None).mallopt(-3, 131072)  # as TensorFlow does
before, kept, _ = faults(), allocator.keep_freed_memory(os.environ), faults()
print(before, kept, faults())
"""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"PATH": "/bin", "GLIBC_TUNABLES": "glibc.pthread.rseq=0"}, False),
        ({"MALLOC_ARENA_MAX": "2"}, True),
        ({"MALLOC_MMAP_THRESHOLD_": "131072"}, True),
        ({"MALLOC_TRIM_THRESHOLD_": "131072"}, True),
        ({"MALLOC_TOP_PAD_": "131072"}, True),
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}, True),
    ],
)
def test_a_variable_of_glibc_is_a_choice(environ, expected):
    assert allocator.is_chosen(environ) is expected


def function(address):
    return ctypes.CFUNCTYPE(None)(address)


def libraries(set_to, *, is_glibc=True, is_replaced=False):
    """Returns a ``CDLL`` whose program and libc note what is set."""

    def mallopt(name, value):
        set_to[name] = value
        return 1

    program = types.SimpleNamespace(malloc=function(2 if is_replaced else 1))
    if is_glibc:
        program.gnu_get_libc_version = function(3)
    libc = types.SimpleNamespace(malloc=function(1), mallopt=mallopt)
    return lambda name: program if name is None else libc


@pytest.mark.parametrize(
    ("environ", "library", "expected"),
    [
        ({}, {}, True),
        ({"MALLOC_ARENA_MAX": "2"}, {}, False),
        ({}, {"is_glibc": False}, False),
        ({}, {"is_replaced": True}, False),
    ],
)
def test_only_an_allocator_that_nobody_chose_is_set(
    monkeypatch, environ, library, expected
):
    set_to = {}
    monkeypatch.setattr(allocator.ctypes, "CDLL", libraries(set_to, **library))
    assert allocator.keep_freed_memory(environ) is expected
    assert set_to == (allocator.SETTINGS if expected else {})


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's allocator")
@pytest.mark.parametrize("is_chosen", [False, True])
def test_buffers_keep_their_pages(is_chosen):
    chosen = {"MALLOC_ARENA_MAX": "8"} if is_chosen else {"MALLOC_ARENA_MAX": None}
    done = run(sys.executable, "-c", PROGRAM, **chosen)
    before, kept, after = done.stdout.split()
    assert (int(before) > 1000, kept) == (True, str(not is_chosen))
    assert (int(after) > 1000) is is_chosen
