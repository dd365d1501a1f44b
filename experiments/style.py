"""How the figures look: widths, type, colours, numbers, files. For papers: vector, TrueType, colour-blind safe."""

import io
import itertools
import logging
import math
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from experiments.fit import write
from experiments.ledger import number

COLUMN, TEXT = 3.25, 5.5  # widths of a paper's column and text, inches
SMALL, GREY = 5.5, "0.35"  # points; the grey of what is said aside
STYLE: dict[Any, Any] = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.5,
    "hatch.linewidth": 0.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
matplotlib.rcParams["pdf.fonttype"] = 42  # TrueType for whoever saves these figures: publishers refuse Type 3
logging.getLogger("fontTools").setLevel(logging.WARNING)  # Hydra lets every logger speak, and this one tells each glyph

# Okabe & Ito's palette without its yellow, which is too light for lines on white; each with its own dash and marker.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SEED: dict[str, Any] = {"markersize": 2.2, "markerfacecolor": "none", "markeredgewidth": 0.5, "linestyle": "none"}
SPELT = {
    "nope": "NoPE",
    "alibi": "ALiBi",
    "rope": "RoPE",
    "t5": "T5",
    "fox": "FoX",
    "kerple_log": "KERPLE",
}  # as their papers write them; other schemes as they are


def looks() -> Iterator[dict[str, Any]]:
    """Colour, dash and marker of each run; all three change, so that two of them may be lost in print."""
    for n in itertools.count():
        yield {
            "color": COLOURS[n % len(COLOURS)],
            "linestyle": DASHES[n % len(DASHES)],
            "marker": MARKERS[n % len(MARKERS)],
        }


def title(ledger: dict[str, Any]) -> str:
    """The concept and the scheme that carries its name."""
    scheme = ledger["perception"]["scheme"]["name"]
    return f"{ledger['perception']['name']} / {SPELT.get(scheme, scheme)}".replace("_", " ")


def said(x: float | str | None, sign: bool = True) -> str:
    """A number of nats for a reader: four decimals, one where it is large, a power of ten where it is tiny.

    >>> said(-0.01234), said(0.5, sign=False), said(2e-6), said("inf"), said(None)
    ('−0.0123', '0.5000', '+2e−6', '∞', 'undefined')
    """
    value = number(x)
    if math.isnan(value):
        return "undefined"
    minus = "\N{MINUS SIGN}"
    if math.isinf(value):
        return "∞" if value > 0 else f"{minus}∞"
    size = abs(value)
    form = ".0f" if size < 1e-9 else ".0e" if size < 5e-5 else ".4f" if size < 10 else ".1f"
    text = f"{value if size >= 1e-9 else 0.0:{'+' if sign and size >= 1e-9 else ''}{form}}"
    return text.replace("e-0", "e-").replace("-", minus)


def wrapped(text: str, width: int) -> str:
    """Lines of at most `width` characters; the text's own line breaks stay."""
    return "\n".join(line for part in text.splitlines() for line in textwrap.wrap(part, width))


def threshold(sizes: list[float]) -> float:
    """0 for a linear scale; where one size is above 20 times another, the power of ten up to which symlog is linear."""
    sizes = [x for x in sizes if 0 < x < math.inf]
    return 10.0 ** math.floor(math.log10(min(sizes))) if sizes and max(sizes) > 20 * min(sizes) else 0.0


def save(figure: Figure, stem: Path) -> None:
    """Writes STEM.pdf and STEM.png, each whole or not at all, without a date: equal runs give equal files."""
    for ending, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=ending, dpi=300, metadata=metadata)
        write(stem.with_name(f"{stem.name}.{ending}"), buffer.getvalue())
