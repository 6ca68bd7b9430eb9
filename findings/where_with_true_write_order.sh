#!/bin/sh
# A tf.function writes one variable twice, and at random the earlier write comes last, when
# the later one passes through tf.where with a condition that is the constant True.
#
# Versions: tensorflow-cpu 2.21.0, Python 3.11.
#
# The function counts two variables up through tf.numpy_function, adds 1 to a third, and
# then gives the third the largest of the two: 1, 2, 3 after three calls. In the traced
# graph the second write has a control edge from the first. Some of many functions made
# alike end with 4 in place of 3: there the addition runs after the write that was to
# replace it, in every call of that function. It is decided when the graph is optimised, and
# differs from function to function and from process to process. With constant folding
# off, with the whole graph optimiser off, or with the condition a tensor or no tf.where
# at all, every function ends with 3.
#
# Seen, of 600 functions each:
#   tf.where(True, new, old)    some end with 4 (2 % to 3 %; in larger graphs a third)
#   without tf.where            none
#   optimiser off               none
#
# Ends with 1 when that is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tensorflow-cpu==2.21.0
cat > program.py <<'PROGRAM'
import collections
import sys

import tensorflow as tf

FUNCTIONS = 600


def last_value(has_where):
    total = tf.Variable(0, dtype=tf.int64)
    counts = [tf.Variable(0, dtype=tf.int64) for _ in range(2)]

    @tf.function
    def step():
        for count in counts:
            count.assign(tf.numpy_function(lambda n: n + 1, [count], tf.int64))
        total.assign(total + 1)
        largest = tf.reduce_max([tf.identity(count) for count in counts])
        total.assign(tf.where(True, largest, total) if has_where else largest)

    for _ in range(3):
        step()
    return int(total)


def tally(has_where):
    values = [last_value(has_where) for _ in range(FUNCTIONS)]
    return dict(collections.Counter(values))


with_where, without = tally(True), tally(False)
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
unoptimised = tally(True)
print("tf.where(True, new, old)", with_where)
print("without tf.where        ", without)
print("optimiser off           ", unoptimised)
right = {3: FUNCTIONS}
is_so = set(with_where) == {3, 4} and without == unoptimised == right
sys.exit(0 if is_so else 1)
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python program.py
