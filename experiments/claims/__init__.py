"""Claims from the literature, decided from run folders alone by rules that were written down before the runs.

claim.py: a claim and its rules, from conf/claim/*.yaml. arms.py: which runs a rule compares. reading.py: the number
that is read of a run, a value for each member. rules.py: from readings to tests. verdict.py: from tests to verdicts,
corrected for how many there are. table.py, forest.py: how verdicts are shown. python -m experiments.claims FOLDER...
"""
