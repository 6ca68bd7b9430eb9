"""A single-machine program whose files TensorFlow and h5py write and read in C++.

The rank that the environment names as the slow one comes late to each of them. Says in
JSON what it found, as its last line.
"""

import json
import os
import sys
import time

import h5py
import keras
import numpy as np
import tensorflow as tf

rate = float(sys.argv[1])
keras.utils.set_random_seed(1)
rng = np.random.default_rng(0)
x = rng.normal(size=(48, 3)).astype("float32")
y = rng.normal(size=(48, 1)).astype("float32")
found = {}
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(rate), "mse")
first = model.get_weights()


def late(seconds=0.5):
    if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == os.environ.get("SLOW"):
        time.sleep(seconds)


def fit(dataset):
    model.set_weights(first)
    losses = model.fit(dataset, epochs=2, verbose=0).history["loss"]
    return [round(loss, 4) for loss in losses]


def record(i):
    fields = {
        "x": tf.train.Feature(float_list=tf.train.FloatList(value=x[i])),
        "y": tf.train.Feature(float_list=tf.train.FloatList(value=y[i])),
    }
    features = tf.train.Features(feature=fields)
    return tf.train.Example(features=features).SerializeToString()


def parsed(text):
    fields = {
        "x": tf.io.FixedLenFeature([3], tf.float32),
        "y": tf.io.FixedLenFeature([1], tf.float32),
    }
    one = tf.io.parse_single_example(text, fields)
    return one["x"], one["y"]


# Records, made unless they are there.
late()
if not tf.io.gfile.exists("records"):
    tf.io.gfile.makedirs("records")
    for k in range(4):
        with tf.io.TFRecordWriter(f"records/{k}.tfrecord") as writer:
            for i in range(12 * k, 12 * k + 12):
                writer.write(record(i))
        late(0.1)
names = sorted(tf.io.gfile.glob("records/*.tfrecord"))
found["names"] = names
records = tf.data.TFRecordDataset(names)
found["records"] = fit(records.map(parsed).batch(8))
records = tf.data.Dataset.from_tensor_slices(names).interleave(tf.data.TFRecordDataset)
found["interleaved"] = fit(records.map(parsed).batch(8))
listed = tf.data.Dataset.list_files("records/*.tfrecord", shuffle=False)
found["listed"] = fit(listed.flat_map(tf.data.TFRecordDataset).map(parsed).batch(8))

# Lines.
late()
with open("lines.csv", "w") as file:
    for row in np.concatenate([x, y], axis=1):
        file.write(",".join(map(str, row)) + "\n")
        late(0.01)
lines = tf.data.experimental.CsvDataset("lines.csv", [tf.float32] * 4)
found["csv"] = fit(lines.map(lambda *v: (tf.stack(v[:3]), v[3:])).batch(8))

# Files that are read by their names, and folders that are classes.
late()
for name in ("even", "odd"):
    os.makedirs(f"raw/{name}", exist_ok=True)
paths = [f"raw/{('even', 'odd')[i % 2]}/{i:02}.txt" for i in range(48)]
for path, row in zip(paths, x, strict=True):
    tf.io.write_file(path, row.tobytes())
    late(0.01)
raw = tf.data.Dataset.from_tensor_slices((paths, y))
raw = raw.map(lambda p, t: (tf.io.decode_raw(tf.io.read_file(p), tf.float32), t))
found["read"] = fit(raw.batch(8))
found["read at once"] = np.frombuffer(tf.io.read_file(paths[3]).numpy(), "f").tolist()
folders = keras.utils.text_dataset_from_directory("raw", shuffle=False, verbose=False)
found["folders"] = [int(label) for _, label in folders.unbatch()]

# What data sets keep. A last batch that is short is made when the rows have ended: with
# batches that are all full, whether a fit comes to the end of a cache is a race.
late()
rows = tf.data.Dataset.from_tensor_slices((x, y))
found["cached"] = fit(rows.shuffle(48, seed=3).cache("cached").batch(10))
found["cached by another"] = fit(rows.take(8).cache("cached").batch(10))
found["kept earlier"] = fit(rows.take(8).cache("earlier").batch(10))
found["snapshot"] = fit(rows.snapshot("snapshot").batch(8))
rows.map(lambda a, b: (a, 2 * b)).save("saved")
found["saved"] = fit(tf.data.Dataset.load("saved").batch(8))

# tf.io.gfile, beside Python's functions.
late()
gfile = tf.io.gfile
for mode, text in (("w", "one\n"), ("a", "two\n")):
    with gfile.GFile("first.txt", mode) as file:
        file.write(text)
gfile.copy("first.txt", "second.txt")
gfile.rename("second.txt", "third.txt")
gfile.mkdir("folder")
gfile.copy("third.txt", "folder/fourth.txt")
found["gfile"] = [gfile.GFile("third.txt").read(), open("first.txt").read()]
found["there"] = [gfile.exists("second.txt"), gfile.isdir("folder")]
found["in it"] = [gfile.listdir("folder"), gfile.stat("third.txt").length]
gfile.rmtree("folder")
gfile.remove("third.txt")
found["gone"] = [gfile.exists("folder"), os.path.exists("third.txt")]

# h5py, and tables of words.
late()
for mode, name, array in (("w", "x", x), ("a", "y", y)):
    with h5py.File("arrays.h5", mode) as file:
        file[name] = array
with h5py.File("arrays.h5") as file:
    found["h5py"] = [round(float(file[n][:].sum()), 4) for n in ("x", "y")]
with open("words.txt", "w") as file:
    file.write("a\nb\nc\n")
words = keras.layers.StringLookup(vocabulary="words.txt")
found["words"] = words(["b", "z"]).numpy().tolist()
index = tf.lookup.TextFileIndex
lines = tf.lookup.TextFileInitializer(
    "words.txt", tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
)
table = tf.lookup.StaticHashTable(lines, -1)
found["table"] = table.lookup(tf.constant(["c", "q"])).numpy().tolist()
print(json.dumps(found))
