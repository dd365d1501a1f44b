"""Where protocols disagree: pairs of readings that one protocol ranks one way and another the other, on known truth.

find.py: all pairs and their reversals, with paired intervals. figure.py, study.py: what `study=protocols` makes of it.
"""
