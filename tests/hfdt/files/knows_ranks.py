"""A program that asks for its rank and divides its files by it."""

import keras

import hfdt

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
rank = hfdt.rank()
with open(f"rank-{rank}.txt", "w") as file:
    file.write(str(hfdt.size()))
if rank == 0:
    model.save("model.keras")
