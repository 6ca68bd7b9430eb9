"""What a step costs: HFDT and NFDT beside copies of plain Keras and a loop by hand.

START HERE: ``measurement.py`` runs the contenders of a work in turn. ``works.py`` says
what is trained, ``contenders.py`` by whom, ``slopes.py`` how a step's time comes out
of the times of fits, ``targets.py`` what is wanted. ``beside.py`` keeps the code of
another commit at hand, ``server.py`` measures a server's update, ``report.py`` and
``picture.py`` show the results.
"""
