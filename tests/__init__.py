"""The run-time type checker of the tests: beartype, with an int where a float stands, as PEP 484 allows."""

from beartype import BeartypeConf, beartype

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))
