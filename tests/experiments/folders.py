"""Run folders, as far as a report reads them."""

import json
import os


def folder(place, ledger, number=0, overrides=()):
    """A finished run."""
    (place / ".hydra").mkdir(parents=True)
    (place / "ledger.json").write_text(json.dumps(ledger))
    (place / "provenance.json").write_text(json.dumps({"git": {"commit": "abc", "dirty": False}}))
    (place / ".hydra" / "hydra.yaml").write_text(f"hydra:\n  job:\n    num: {number}\n    name: ${{oc.env:HOME}}\n")
    (place / ".hydra" / "overrides.yaml").write_text("".join(f"- {x}\n" for x in overrides))
    return place


class Trap:
    """What an unpickler would run."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)
