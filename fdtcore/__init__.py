"""The client side that every framework of this project shares.

Imports neither ``hfdt`` nor ``nfdt``. Only the modules of ``fdtcore.glue``
import TensorFlow and Keras; importing this package starts nothing.
"""
