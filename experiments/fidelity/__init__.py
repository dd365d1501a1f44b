"""Does each protocol rank networks as their exact loss does, and what would that take? From run folders alone.

rank.py: tau-b of each protocol over the runs of a law. pairs.py: two runs, exactly and as each protocol says.
calculator.py: `python -m experiments.fidelity FOLDER_A FOLDER_B`, tokens that rank two runs. study.py: tables, figure.
"""
