"""Positional embedding, or the decay of attention? Four studies on known truth, and what is made of their runs.

cells.py, beyond.py: which runs each study makes, by budget. phase.py, matrix.py: which concept a world needs, and which
scheme training prefers. curse.py: where the gain of longer windows comes from. sweeps.py: excess against slope or gap.
null.py: the exact reader of a window. studies.py: the studies by name.
"""
