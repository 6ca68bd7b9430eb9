"""The binding of an engine to Keras: the only modules of fdtcore that import it.

================  =================================================="""
