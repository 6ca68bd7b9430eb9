"""A fit whose gradient is the same in each step; killed after ``KILL`` batches.

The gradient of element (i, j) is j + 1, whatever the weights and the samples are.
"""

import keras
import numpy as np
from batch_kill import BatchKill

ROWS, COLUMNS, STEPS = 64, 32, 20
model = keras.Sequential(
    [keras.Input((ROWS,)), keras.layers.Dense(COLUMNS, use_bias=False)]
)
model.set_weights([np.zeros((ROWS, COLUMNS), "float32")])
model.compile(
    keras.optimizers.SGD(1.0),
    lambda y_true, y_pred: keras.ops.sum(y_pred * np.arange(1.0, COLUMNS + 1), -1),
)

x = np.ones((12 * STEPS, ROWS), "float32")
model.fit(x, x, batch_size=12, verbose=0, callbacks=[BatchKill()])
