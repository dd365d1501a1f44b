"""The study `claims`: decides every claim from the runs of a folder, and writes the verdicts beside them."""

from pathlib import Path

from rich.console import Console

from experiments.claims import forest, table
from experiments.claims.claim import claims
from experiments.claims.verdict import decide
from experiments.fit import write
from experiments.found import Run
from experiments.style import save


def study(
    runs: list[Run], out: Path, console: Console, only: list[str] | None = None, correction: str = "fdr"
) -> list[str]:
    """Prints the verdicts; writes claims.json, claims.tex and, if any claim has runs, claims.pdf and .png."""
    verdicts = decide(claims(only), runs, correction)
    console.print(table.screen(verdicts, correction))
    out.mkdir(parents=True, exist_ok=True)
    write(out / "claims.json", table.text(verdicts, out, correction))
    write(out / "claims.tex", table.latex(verdicts, correction).encode())
    written = ["claims.json", "claims.tex"]
    if any(v.trials for v in verdicts):
        save(forest.forest(verdicts), out / "claims")
        written += ["claims.pdf", "claims.png"]
    return written
