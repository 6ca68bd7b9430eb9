#!/bin/sh
# tf.data.Dataset.from_generator switches off glibc's dynamic mmap threshold for the whole
# process: from then on every buffer of 128 KiB or more is mapped when it is allocated and
# unmapped when it is freed, also in steps that have nothing to do with the generator.
#
# Versions: tensorflow-cpu 2.21.0, keras 3.15.1, Python 3.11 (3.12 is said to be alike),
# glibc 2.36, x86-64.
#
# When a process makes its first kernel of GeneratorDataset, TensorFlow calls
# mallopt(M_MMAP_THRESHOLD, 131072) on Python 3.11 and 3.12 (ApplyPython311MemoryPatch,
# against the growth of memory in tensorflow#65675). It calls it once, whatever
# MALLOC_MMAP_THRESHOLD_ says. Keras reads generators and PyDatasets through
# from_generator. The kernel then clears each page of each such buffer in each step. A CPU
# with AVX512-VNNI, for which TensorFlow uses oneDNN by default, is spared much of that:
# the buffers of its operations come from an allocator of TensorFlow's own. So oneDNN is
# off here. After mallopt(M_MMAP_THRESHOLD, 32 MiB), mallopt(M_TRIM_THRESHOLD, 1 GiB) and
# mallopt(M_TOP_PAD, 64 MiB), all after the first element, steps reuse their pages.
#
# Seen, page faults of a step of two convolutions, each line from a process of its own:
#   without a generator               19 to 3782, by the process
#   after one element of a generator  10569
#   with the three settings           19
#
# Ends with 1 when that is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet keras==3.15.1 tensorflow-cpu==2.21.0
cat > program.py <<'PROGRAM'
import ctypes
import resource
import sys

import tensorflow as tf

STEPS = 20
x = tf.random.normal([128, 28, 28, 1])
first, second = tf.random.normal([3, 3, 1, 32]), tf.random.normal([3, 3, 32, 64])


@tf.function
def step(x):
    hidden = tf.nn.relu(tf.nn.conv2d(x, first, 1, "SAME"))
    return tf.reduce_sum(tf.nn.relu(tf.nn.conv2d(hidden, second, 1, "SAME")))


def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def of_a_step():
    for _ in range(STEPS):  # until memory is as it will be
        step(x)
    begun = page_faults()
    for _ in range(STEPS):
        step(x)
    return (page_faults() - begun) // STEPS


if sys.argv[1] != "plain":
    kind = tf.TensorSpec([], tf.int32)
    data = tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=kind)
    next(iter(data))
if sys.argv[1] == "restored":
    libc = ctypes.CDLL("libc.so.6")
    for option, value in ((-3, 32 << 20), (-1, 1 << 30), (-2, 64 << 20)):
        libc.mallopt(option, value)  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD
print(of_a_step())
PROGRAM
export TF_ENABLE_ONEDNN_OPTS=0 TF_CPP_MIN_LOG_LEVEL=3
plain=$(venv/bin/python program.py plain)
generator=$(venv/bin/python program.py generator)
restored=$(venv/bin/python program.py restored)
echo "without a generator              $plain"
echo "after one element of a generator $generator"
echo "with the three settings          $restored"
test "$generator" -gt 5000 && test "$plain" -lt 5000 && test "$restored" -lt 500
