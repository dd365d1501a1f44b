"""The tables of a study's fidelity: CSV with a data dictionary in its columns' names, booktabs, and the terminal's."""

import math

import numpy as np
import pandas as pd
from rich.table import Table

from experiments.fidelity.calculator import count
from experiments.fidelity.pairs import Pair, order, tokens
from experiments.fidelity.rank import Group, Ranking
from experiments.tables import mathematics, tex
from worlds.quantity import Quantity

Found = list[tuple[Group, list[Ranking], list[Pair]]]


def ranked(found: Found) -> pd.DataFrame:
    """A row per world and protocol: three tau-b (rank.Ranking says of what), and medians over pairs of runs."""
    rows = []
    for group, rankings, pairs in found:
        for ranking in rankings:
            hard, soft, reversed_, decided = needs(ranking.label, pairs)
            rows.append(
                {"world": group.world, "functional": group.functional, "length": group.length}
                | {"protocol": ranking.label, "unit": ranking.unit, "better": ranking.better}
                | {"runs": len(group.runs), "networks": ranking.networks}
                | _interval("tau_b", ranking.tau)
                | _interval("tau_b_expected", ranking.ideal)
                | _interval("tau_b_fresh", ranking.fresh)
                | {"pairs": len(pairs), "pairs_decided": decided, "pairs_reversed": reversed_}
                | {"tokens_median": _median(hard), "tokens_soft_median": _median(soft)}
            )
    return pd.DataFrame(rows)


def paired(found: Found, names: list[str]) -> pd.DataFrame:
    """A row per pair of runs and protocol: the exact difference, the protocol's, and the tokens that rank the pair."""
    rows = []
    for group, _, pairs in found:
        for pair in pairs:
            for x in pair.said:
                rows.append(
                    {"world": group.world, "length": group.length, "first": names[pair.first]}
                    | {"second": names[pair.second]}
                    | _interval("exact", pair.exact)
                    | {"protocol": x.label, "unit": x.unit, "better": x.better, "paired": x.paired}
                    | _interval("score", x.score)
                    | _interval("expected", x.expected)
                    | {"order": order(pair.exact, x), "documents": x.hard.documents.value, "spread": x.hard.spread}
                    | _interval("tokens", tokens(pair.exact, x))
                    | _interval("tokens_soft", tokens(pair.exact, x, soft=True))
                )
    return pd.DataFrame(rows)


def needs(label: str, pairs: list[Pair]) -> tuple[list[float], list[float], int, int]:
    """(tokens per pair, the same with exact laws as labels, pairs reversed, pairs decided), of one protocol.

    Pairs whose exact order is not known are left out; in a pair that the protocol reverses it takes infinitely many.
    """
    found = [(pair.exact, x) for pair in pairs for x in pair.said if x.label == label]
    known = [(exact, x) for exact, x in found if order(exact, x) in ("the same", "reversed")]
    hard, soft = ([tokens(exact, x, soft=s).value for exact, x in known] for s in (False, True))
    return hard, soft, sum(order(exact, x) == "reversed" for exact, x in known), len(known)


def _median(values: list[float]) -> float:
    """NaN of none; infinite where half of the pairs are."""
    known = [x for x in values if not math.isnan(x)]
    return float(np.median(known)) if known else math.nan


def _interval(name: str, q: Quantity) -> dict[str, float | str]:
    return {name: q.value, f"{name}_low": q.low, f"{name}_high": q.high, f"{name}_class": q.kind}


def screen(group: Group, rankings: list[Ranking], pairs: list[Pair]) -> Table:
    """One world for the terminal."""
    networks = max((x.networks for x in rankings), default=0)
    title = f"fidelity: {group.world}, {len(group.runs)} runs, {networks} networks, exact loss at {group.length} tokens"
    table = Table(title=title, title_justify="left")
    for heading in ("protocol", "tau-b", "95 %", "expected", "pairs reversed", "tokens to rank a pair", "exact labels"):
        table.add_column(heading, justify="left" if heading == "protocol" else "right")
    for x in rankings:
        hard, soft, turned, decided = needs(x.label, pairs)
        table.add_row(x.label, *_tau(x), f"{turned} of {decided}", count(_median(hard)), count(_median(soft)))
    return table


def _tau(x: Ranking) -> tuple[str, str, str]:
    if x.tau.kind == "undefined":
        return "undefined", "", ""
    return two(x.tau.value), f"[{two(x.tau.low)}, {two(x.tau.high)}]", two(x.ideal.value)


def two(x: float) -> str:
    """A tau in two decimals, with a true minus.

    >>> two(-0.5), two(float("nan"))
    ('−0.50', 'undefined')
    """
    return "undefined" if math.isnan(x) else f"{x:.2f}".replace("-", "\N{MINUS SIGN}")


def latex(found: Found) -> str:
    """A booktabs table in text width for each world; it needs the package booktabs only."""
    return "\n".join(_float(n, *part) for n, part in enumerate(found, 1))


def _float(number: int, group: Group, rankings: list[Ranking], pairs: list[Pair]) -> str:
    networks = max((x.networks for x in rankings), default=0)
    lines = ["\\begin{tabular*}{5.5in}{@{}l@{\\extracolsep{\\fill}}rrrrr@{}}", "\\toprule"]
    lines += ["protocol & $\\tau_b$ & 95\\,\\% & expected & reversed & tokens \\\\", "\\midrule"]
    for x in rankings:
        tau, interval, ideal = (mathematics(word) for word in _tau(x))
        hard, _, turned, decided = needs(x.label, pairs)
        many = mathematics(count(_median(hard)).replace(",", "\\,"))
        lines.append(f"{tex(x.label)} & {tau} & {interval} & {ideal} & ${turned}/{decided}$ & {many} \\\\")
    lines += ["\\bottomrule", "\\end{tabular*}"]
    caption = (
        f"How protocols rank {networks} networks ({len(group.runs)} runs) of the world {tex(group.world)}: Kendall's "
        f"$\\tau_b$ with their exact losses over {group.length} tokens, its 95\\,\\% interval (bootstrap over runs "
        "with their seeds), and that of the protocol's exact expectations, which no sample size mends; of the pairs of "
        "runs whose exact order is known, how many the expectation reverses; and the median over these pairs of the "
        "evaluation tokens that rank them rightly with 95\\,\\% confidence."
    )
    label = f"tab:fidelity{f'-{number}' if number > 1 else ''}"
    head = f"\\begin{{table}}\n\\centering\\small\n\\caption{{{caption}}}\n\\label{{{label}}}\n\\smallskip\n"
    return head + "\n".join(lines) + "\n\\end{table}\n"
