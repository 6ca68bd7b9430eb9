#!/bin/sh
# NumPy computes other numbers inside tf.numpy_function and in map functions of tf.data
# than outside of them: there a subnormal number is zero.
#
# Versions: tensorflow-cpu 2.21.0, numpy 2.4.1, Python 3.11, x86-64.
#
# TensorFlow tells the processor, thread by thread, to take numbers below the smallest
# normal one (1.2e-38 in float32) for zero, and Python that it calls from a step runs in
# such a thread. The same line of Python that is called directly keeps them. So code that
# is moved from a loop into tf.numpy_function no longer gives equal bits; and a moving
# average that TensorFlow or Keras would bring to zero comes to rest above it in NumPy,
# where each operation on it then takes far longer.
#
# Seen, 1 000 times v = 0.9 * v in float32 from 1, and then the time of one multiplication
# of a million such numbers, beside one of a million numbers of 1:
#   called directly        v = 5.6e-45   18 times
#   in tf.numpy_function   v = 0          1 time
#   by TensorFlow itself   v = 0
#
# Ends with 1 when that is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.1 tensorflow-cpu==2.21.0
cat > program.py <<'PROGRAM'
import time

import numpy as np
import tensorflow as tf

FACTOR = np.float32(0.9)
ONE = np.ones(1_000_000, np.float32)


def duration_s(values, out=np.empty_like(ONE)):
    times_s = []
    for _ in range(9):
        begun_s = time.perf_counter()
        np.multiply(values, FACTOR, out=out)
        times_s.append(time.perf_counter() - begun_s)
    return sorted(times_s)[4]


def decayed(value):
    for _ in range(1_000):
        value = value * FACTOR
    slow = duration_s(np.full_like(ONE, value[0])) / duration_s(ONE)
    return np.array([value[0], slow], np.float32)


@tf.function
def within(value):
    return tf.numpy_function(decayed, [value], tf.float32)


start = np.ones(1, np.float32)
direct, called = decayed(start), within(tf.constant(start)).numpy()
own = tf.constant(start)
for _ in range(1_000):
    own = own * FACTOR
print(f"called directly        v = {direct[0]:.1e}   {direct[1]:.0f} times")
print(f"in tf.numpy_function   v = {called[0]:.0f}   {called[1]:.0f} times")
print(f"by TensorFlow itself   v = {own.numpy()[0]:.0f}")
assert direct[0] > 0 == called[0] == own.numpy()[0]
assert direct[1] > 5 > called[1]
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python program.py
