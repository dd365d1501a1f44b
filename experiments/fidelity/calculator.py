"""How many evaluation tokens rank two given runs rightly, by each protocol that both were observed with."""

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.contrasts import Side
from experiments.fidelity.pairs import Pair, compared, order, tokens
from experiments.fidelity.rank import referee
from experiments.found import printable
from experiments.style import said
from worlds.quantity import Quantity


def calculator(first: Side, second: Side, confidence: float, console: Console) -> int:
    """Prints what it takes to rank two runs rightly; returns the exit status."""
    shared = referee([first.run, second.run])
    if shared is None:
        console.print("fidelity: the runs must share a functional (world and length), but none of theirs is the same")
        return 1
    length = shared[1]
    found = compared(first, second, length, confidence)
    if not found.said:
        console.print("fidelity: the folders must hold marks of one protocol, but hold none; run them again")
        return 1
    names = [f"{printable(str(s.run.place))}{'' if s.member is None else f' seed {s.member}'}" for s in (first, second)]
    console.print(Text(f"A: {names[0]}\nB: {names[1]}"), soft_wrap=True)
    console.print(f"exact, {length} tokens: A - B = {_interval(found.exact)} nats per token ({found.exact.kind})")
    console.print(_answer(found, confidence))
    return 0


def _answer(found: Pair, confidence: float) -> Table:
    title = f"evaluation tokens that rank A and B rightly with {confidence:.0%} confidence"
    table = Table(title=title, title_justify="left")
    for heading in ("protocol", "A - B, expected", "order", "documents", "tokens", "95 %", "with exact laws as labels"):
        table.add_column(heading, justify="left" if heading == "protocol" else "right")
    for x in found.said:
        hard, soft, direction = tokens(found.exact, x), tokens(found.exact, x, soft=True), order(found.exact, x)
        documents = "never" if direction == "reversed" else count(x.hard.documents.value)
        ends = "" if hard.kind == "undefined" or hard.low == hard.high else f"{count(hard.low)} to {count(hard.high)}"
        paired = "" if x.paired else " (documents not the same)"
        words = (f"{x.label} ({x.unit}){paired}", said(x.expected.value), direction, documents)
        table.add_row(*map(Text, words), count(hard.value), ends, count(soft.value))
    return table


def _interval(q: Quantity) -> str:
    return said(q.value) if q.low == q.high else f"{said(q.value)} [{said(q.low, False)}, {said(q.high, False)}]"


def count(x: float) -> str:
    """A number of tokens or documents for a reader, in three digits.

    >>> count(1234567.0), count(12.3), count(math.inf), count(math.nan)
    ('1,230,000', '13', 'never', 'undefined')
    """
    if math.isnan(x):
        return "undefined"
    if math.isinf(x):
        return "never"
    whole = math.ceil(x)
    digits = max(0, len(str(whole)) - 3)
    return f"{round(whole, -digits):,}"
