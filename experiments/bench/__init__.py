"""How fast everything is, beside what one would use instead: see `experiments.bench.__main__`."""
