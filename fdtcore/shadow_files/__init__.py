"""The file changes of ranks other than 0, kept in a folder of their own.

==============  ============================================================
shadow          START HERE: which file another rank than 0 is given for a name
patches         replaces Python's functions that take names of files
rank0_view      rank 0's view: the real files, and notes of what it makes
journal         what rank 0 has made since the ranks last met
==============  ============================================================

Imports nothing else of the project. TensorFlow's own functions for files follow the
same rule in ``fdtcore/glue/native_files.py``.
"""
