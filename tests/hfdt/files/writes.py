"""A single-machine program that writes, reads back and loads in many ways.

Says in JSON what it found, as its last line.
"""

import csv
import importlib.util
import json
import os
import shutil
import tempfile

import keras
import matplotlib
import numpy as np
import tensorflow as tf

matplotlib.use("Agg")
from matplotlib import pyplot as plt

keras.utils.set_random_seed(1)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(24, 3)).astype("float32"), rng.normal(size=(24, 1))
found = {}


def make():
    """A model whose first values differ between ranks, as far as they can."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, kernel_initializer=keras.initializers.Constant(0.5)),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def total(model):
    return float(sum(np.abs(w).sum() for w in model.get_weights()))


# Files of the program's own, some of them in a folder that it begins afresh.
shutil.rmtree("run", ignore_errors=True)
os.makedirs("run")
np.savez("run/data.npz", x=x, y=y)
found["npz"] = float(np.load("run/data.npz")["x"].sum())
with open("run/table.csv", "w", newline="") as file:
    csv.writer(file).writerows(x.tolist())
with open("run/settings.json.tmp", "w") as file:
    json.dump({"rate": 0.1}, file)
os.replace("run/settings.json.tmp", "run/settings.json")
found["json"] = json.load(open("run/settings.json"))
plt.plot([1, 2])
plt.savefig("run/curve.png")
found["png"] = list(plt.imread("run/curve.png").shape)
with open("lines.txt", "a") as file:
    file.write("a line\n")

# Keras's callbacks.
has_tensorboard = importlib.util.find_spec("tensorboard") is not None
boards = [keras.callbacks.TensorBoard("run/board")] if has_tensorboard else []
model = make()
history = model.fit(
    x,
    y,
    epochs=3,
    verbose=2,
    callbacks=[
        keras.callbacks.ModelCheckpoint("run/best.keras", save_best_only=True),
        keras.callbacks.ModelCheckpoint(
            "run/at-{epoch}.weights.h5", save_freq=1, save_weights_only=True
        ),
        keras.callbacks.CSVLogger("run/log.csv"),
        *boards,
    ],
    validation_data=(x, y),
)
model.summary()
print("this line is printed once")
found["history"] = history.history

# Models: loaded from where only rank 0 may have them.
model.save("run/model.keras")
keras.saving.save_model(model, "run/other.keras")
model.export("run/exported", verbose=False)
found["total"] = total(model)
with tempfile.TemporaryDirectory() as folder:
    model.save(f"{folder}/model.keras")
    model.save_weights(f"{folder}/own.weights.h5")
    found["exists"] = os.path.exists(f"{folder}/model.keras")
    again = keras.models.load_model(f"{folder}/model.keras")
    other = make()
    other.load_weights(f"{folder}/own.weights.h5")
    found["loaded"] = [total(again), total(other)]
try:
    keras.models.load_model("missing.keras")
except ValueError as error:
    found["missing"] = str(error)

# TensorFlow's checkpoints and summaries.
step = tf.Variable(0)
checkpoint = tf.train.Checkpoint(model=model, step=step)
manager = tf.train.CheckpointManager(checkpoint, "run/checkpoints", max_to_keep=2)
for _ in range(3):
    step.assign_add(1)
    manager.save()
found["latest"] = [
    os.path.basename(manager.latest_checkpoint),
    os.path.basename(tf.train.latest_checkpoint("run/checkpoints")),
    len(manager.checkpoints),
]
# Each rank has changed: restored, all have rank 0's value again.
step.assign(40 + os.getpid())
checkpoint.restore(manager.latest_checkpoint).assert_consumed()
found["step"] = int(step)
with tempfile.TemporaryDirectory() as folder:
    path = tf.train.Checkpoint(step=tf.Variable(os.getpid())).write(f"{folder}/one")
    later = tf.train.Checkpoint()
    later.read(path)
    later.step = tf.Variable(0)  # restored when it is made
    found["deferred"] = int(later.step)
with tf.summary.create_file_writer("run/summaries").as_default():
    tf.summary.write("loss", 0.5, step=0)
tf.saved_model.save(tf.Module(), "run/module")
print(json.dumps(found))
