"""Names for what Keras and TensorFlow hand over.

Neither ships types that hold over the supported versions, so mypy takes each for
``Any``. A reader sees what is meant, and the one place to change if they ever do.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Model: TypeAlias = Any  # ``keras.Model``
Layer: TypeAlias = Any  # ``keras.layers.Layer``
Loss: TypeAlias = Any  # ``keras.losses.Loss``
Metric: TypeAlias = Any  # ``keras.metrics.Metric``
History: TypeAlias = Any  # ``keras.callbacks.History``
Callback: TypeAlias = Any  # ``keras.callbacks.Callback``
# What ``fit`` takes for callbacks: None, one, a list of them, a ``CallbackList``.
Callbacks: TypeAlias = Any
DataAdapter: TypeAlias = Any  # Keras's, which makes a data set of what ``fit`` takes
Logs: TypeAlias = Any  # name of a loss or metric -> value; None where there are none
# ``keras.optimizers.Optimizer``, or a class of a user's own that holds some.
Optimizer: TypeAlias = Any
Variable: TypeAlias = Any  # ``keras.Variable`` or ``tf.Variable``
Tensor: TypeAlias = Any  # ``tf.Tensor``, or what TensorFlow makes one of
Gradient: TypeAlias = Any  # ``tf.Tensor``, ``tf.IndexedSlices`` or None
Dataset: TypeAlias = Any  # ``tf.data.Dataset``
PyDataset: TypeAlias = Any  # ``keras.utils.PyDataset``
# What ``tf.function`` returns, called as the Python function that it is made of.
TensorFlowFunction: TypeAlias = Any
EpochIterator: TypeAlias = Any  # Keras's, over the steps of an epoch
TensorFlowIterator: TypeAlias = Any  # over a ``tf.data.Dataset``
Structure: TypeAlias = Any  # of tensors, nested, such as a batch
FilePath: TypeAlias = Any  # a path, or an open file
