"""The pipelines of this rank's part of the data."""

import keras
import numpy as np
import pytest

from fdtcore.glue.data import PartAdapter
from fdtcore.glue.keras_internals import (
    GeneratorDataAdapter,
    PyDatasetAdapter,
    data_adapters,
)
from fdtcore.process import Process

BATCH = (np.zeros((4, 1), np.float32), np.zeros((4, 1), np.float32))


class Batches(keras.utils.PyDataset):
    """Two batches, made in Python."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return BATCH


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (lambda: Batches(), PyDatasetAdapter),
        (lambda: (one for one in [BATCH, BATCH]), GeneratorDataAdapter),
    ],
)
def test_what_reads_python_code_does_not_tune_itself(data, kind):
    inner = data_adapters.get_data_adapter(data())
    assert isinstance(inner, kind)
    found = PartAdapter(inner, Process(0, 2), "global").get_tf_dataset()
    assert found.options().autotune.enabled is False
