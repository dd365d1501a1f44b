"""A study's numbers as tables: for the terminal, and booktabs tables in a paper's text and column width.

Every number stands with its interval and its class. Text of runs is escaped: nothing in it is a LaTeX command.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from experiments.found import Run
from experiments.ledger import GAPS
from experiments.style import said

MARKS = {"certified": "c", "estimated": "e", "witnessed": "w"}
SPECIAL = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", '"': "{''}", "[": "{[}", "*": "{*}"}
)
ACROSS = 5  # columns of numbers in text width
PAGE = 36  # lines of numbers on a page, below its caption

Entry = dict[str, Any] | None  # of a ledger; None where it was not measured


class Block(NamedTuple):
    """A table of ledger entries: a row for each run."""

    name: str
    columns: list[str]
    rows: dict[str, list[Entry]]


def blocks(runs: list[Run], names: list[str]) -> list[Block]:
    """The ladder at the trained length, and R - D at each multiple of it."""
    ladder, beyond = {}, {}
    found = [{int(n) / run.ledger["train_length"]: p for n, p in run.ledger["lengths"].items()} for run in runs]
    multiples = sorted({m for parts in found for m in parts} | {1.0})
    for run, name, parts in zip(runs, names, found, strict=True):
        gaps = run.ledger["gaps"]
        ladder[name] = [run.ledger["layers"]["D"], *(gaps[g] for g in GAPS)]
        lengths: dict[float, Any] = parts | {1.0: run.ledger}
        beyond[name] = [lengths[m]["gaps"]["R-D"] if m in lengths else None for m in multiples]
    return [
        Block(
            "the ladder at the trained length, nats per token", ["D", *(" - ".join(g.split("-")) for g in GAPS)], ladder
        ),
        Block(
            "R - D by length, in multiples of the trained one, nats per token", [f"{m:g}x" for m in multiples], beyond
        ),
    ]


def cell(entry: Entry) -> tuple[str, str, str]:
    """(value, interval, class) in words; the interval is empty where it is one number."""
    if entry is None:
        return "not measured", "", ""
    sign = "nats" in entry
    value = entry["nats"] if sign else entry["loss"]
    one = entry["low"] == entry["high"]
    return (
        said(value, sign),
        "" if one else f"[{said(entry['low'], False)}, {said(entry['high'], False)}]",
        entry["class"],
    )


def screen(block: Block) -> Table:
    """A block for the terminal: value, and the interval below it."""
    table = Table(title=block.name, title_justify="left", show_lines=len(block.rows) > 1)
    table.add_column("run")
    for column in block.columns:
        table.add_column(column, justify="right")
    for name, entries in block.rows.items():
        cells = [
            Text(value).append(f"\n{interval}" if interval else "", style="dim")
            for value, interval, _ in map(cell, entries)
        ]
        table.add_row(Text(name), *cells)
    return table


def text_width(runs: list[Run], names: list[str]) -> str:
    """Booktabs tables, 5.5 in wide, as many runs on each as a page holds; they need the package booktabs only."""
    multiples = len(blocks(runs, names)[1].columns)

    def lines(name: str) -> float:  # of a run: in the ladder, and in each part of what lies beyond the trained length
        beyond = [min(ACROSS, multiples - n) for n in range(0, multiples, ACROSS)]
        return sum(0.3 + max(2, -(-len(name) // int(17 * (5.4 - 0.84 * n)))) for n in (ACROSS, *beyond))

    return "\n".join(
        _float(
            "\n\\par\\medskip\n".join(_tabular(part) for block in blocks(some, them) for part in _narrow(block)),
            _caption(some, "Intervals stand below their values."),
            page,
        )
        for page, some, them in _pages(runs, names, lines)
    )


def column_width(runs: list[Run], names: list[str]) -> str:
    """The same numbers, 3.25 in wide: a line for each."""
    many = 5 + len(blocks(runs, names)[1].columns)
    return "\n".join(
        _float(_listed(blocks(some, them)), _caption(some, "Intervals stand beside their values."), page, "-column")
        for page, some, them in _pages(runs, names, lambda name: many + 0.6 + -(-len(name) // 40))
    )


def _pages(runs: list[Run], names: list[str], lines: Callable[[str], float]) -> list[tuple[int, list[Run], list[str]]]:
    """(number, runs, names) of each page, which holds PAGE lines."""
    pages, room = [], 0.0
    for run, name in zip(runs, names, strict=True):
        room -= lines(name)
        if room < 0:
            pages.append((len(pages) + 1, [], []))
            room = PAGE - lines(name)
        pages[-1][1].append(run)
        pages[-1][2].append(name)
    return pages


def _float(body: str, caption: str, page: int, kind: str = "") -> str:
    label = f"\\label{{tab:ladder{kind}{f'-{page}' if page > 1 else ''}}}"
    head = f"\\begin{{table}}\n\\centering\\small\\setlength{{\\tabcolsep}}{{3pt}}\n\\caption{{{caption}}}\n{label}\n"
    return f"{head}\\smallskip\n{body}\\end{{table}}\n"


def _narrow(block: Block) -> list[Block]:
    """The block in parts that are no wider than the text."""
    cuts = range(0, len(block.columns), ACROSS)
    return [
        Block(block.name, block.columns[n : n + ACROSS], {k: row[n : n + ACROSS] for k, row in block.rows.items()})
        for n in cuts
    ]


def _tabular(block: Block) -> str:
    """In text width: a run's numbers on one line, their intervals below them."""
    label = f"{5.4 - 0.84 * len(block.columns):.2f}in"  # what the numbers leave
    columns = f"@{{}}p{{{label}}}@{{\\extracolsep{{\\fill}}}}{'r' * len(block.columns)}@{{}}"
    heads = ["$R - D$ at" if block.columns[0][0].isdigit() else "", *map(_head, block.columns)]
    lines = [f"\\begin{{tabular*}}{{5.5in}}{{{columns}}}", "\\toprule", " & ".join(heads) + r" \\", "\\midrule"]
    for name, entries in block.rows.items():
        lines += ["\\addlinespace[3pt]"] * (lines[-1] != "\\midrule")
        lines.append(" & ".join([f"\\raggedright {tex(name)}", *map(_stacked, map(cell, entries))]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular*}"]) + "\n"


def _stacked(said_: tuple[str, str, str]) -> str:
    """A number, and its interval below it."""
    value, interval, kind = said_
    number = mathematics(value, MARKS.get(kind, ""))
    return (
        f"\\begin{{tabular}}[t]{{@{{}}r@{{}}}}{number}\\\\[-2pt]{_small(interval)}\\end{{tabular}}"
        if interval
        else number
    )


def _listed(both: list[Block]) -> str:
    """In column width: run by run, each of its numbers on a line of its own with its interval beside it."""
    lines = ["\\begin{tabular}{@{}p{1.1in}p{0.75in}p{1.2in}@{}}", "\\toprule"]
    for n, name in enumerate(both[0].rows):
        lines += ["\\midrule"] * (n > 0)
        lines.append(f"\\multicolumn{{3}}{{@{{}}p{{3.2in}}@{{}}}}{{\\raggedright\\textbf{{{tex(name)}}}}} \\\\")
        for block in both:
            ahead = "" if block is both[0] else "$R - D$ at "
            for column, (value, interval, kind) in zip(block.columns, map(cell, block.rows[name]), strict=True):
                number = mathematics(value, MARKS.get(kind, ""))
                lines.append(f"{ahead}{_head(column)} & \\hfill {number} & \\hfill {_small(interval)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _head(column: str) -> str:
    return f"${column.replace('x', chr(92) + 'times')}$" if column[0].isdigit() else f"${column}$"


def _small(interval: str) -> str:
    return f"{{\\scriptsize {mathematics(interval)}}}" if interval else ""


def tex(text: str) -> str:
    """Foreign text as LaTeX that says it: specials escaped, other than ASCII by code point, long words breakable."""
    named = "".join(c if c.isascii() else f"U+{ord(c):04X}" for c in text.replace("\0", ""))
    broken = re.sub(r"([=/,_]|\.(?=[a-z]))(?=\S)", "\\1\0", named)
    broken = re.sub(r"[^\s\0]{12}(?=[^\s\0])", "\\g<0>\0", broken)
    return broken.translate(SPECIAL).replace("\0", r"\hspace{0pt}")


def mathematics(text: str, mark: str = "") -> str:
    """A number or an interval in words, as LaTeX; the mark is its class."""
    if not any(c.isdigit() or c == "∞" for c in text):
        return text
    body = text.replace("\N{MINUS SIGN}", "-").replace("∞", "\\infty ")
    body = re.sub(r"(\d)e-(\d+)", r"\1\\cdot10^{-\2}", body)
    return f"${body}^{{\\mathrm{{{mark}}}}}$" if mark else f"${body}$"


def _caption(runs: list[Run], where: str) -> str:
    ledgers = [run.ledger for run in runs]
    worlds = tex(", ".join(sorted({x["world"]["name"] for x in ledgers})))
    lengths = ", ".join(map(str, sorted({x["train_length"] for x in ledgers})))
    seeds = ", ".join(map(str, sorted({len(x["members"]) for x in ledgers})))
    protocols = tex(", ".join(sorted({x["observation"] for x in ledgers})))
    return (
        f"Losses against the world {worlds} in nats per token: its own loss $D$, and what perception ($P$), "
        f"instantiation ($I$), training ($R$; {seeds} seeds) and observation ($O$: {protocols}) add to it, trained at "
        f"{lengths} tokens; below, the excess $R - D$ at multiples of that length. {where} "
        "Unmarked numbers are exact; c: certified, an interval with a proof; e: estimated, a 95\\,\\% interval "
        "(Student's $t$, by sequence and, for $R$, by seed); w: witnessed, an upper end that known weights reach."
        f"{_diverged(ledgers)}"
    )


def _diverged(ledgers: list[dict[str, Any]]) -> str:
    """What diverged is in no mean, and said."""
    count = sum(len(x.get("diverged", {})) for x in ledgers)
    return f" {count} of the trainings diverged; the mean over their seeds is infinite." if count else ""
