"""The ledger as a person reads it: one table, one plain sentence for each gap."""

from typing import Any

from rich.console import Console
from rich.table import Table

from experiments import diagnose, shares
from experiments.ledger import GAPS, number

NAMES = {
    "D": "thing-in-itself",
    "P": "perception",
    "I": "instantiation",
    "R": "reachable",
    "O": "observation",
}


def show(ledger: dict[str, Any], console: Console) -> None:
    """Prints the ledger of one run."""
    title = f"{ledger['world']['name']} · {ledger['perception']['name']} / {ledger['perception']['scheme']['name']} · "
    table = Table(title=title + f"{ledger['instantiation']['name']} · nats per token", title_justify="left")
    for heading, justify in (
        ("layer", "left"),
        ("loss", "right"),
        ("gap", "right"),
        ("95 %", "left"),
        ("class", "left"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for layer, name in NAMES.items():
        loss = ledger["layers"][layer]
        gap = next((ledger["gaps"][g] for g in GAPS if g[0] == layer), None)
        table.add_row(
            f"{layer}  {name}",
            _number(loss["loss"], 6),
            "" if gap is None else _number(gap["nats"], 6, sign=True),
            interval(loss if gap is None else gap),
            (loss if gap is None else gap)["class"],
        )
    table.add_section()
    total, rest = ledger["gaps"]["O-D"], ledger["residual"]
    residual = "undefined" if rest is None else f"{number(rest):.0e}"
    table.add_row("O - D", "", _number(total["nats"], 6, sign=True), interval(total), f"residual {residual}")
    console.print(table)
    for gap in GAPS:
        console.print(f"[bold]{gap}[/bold]  {ledger['sentences'][gap]}", highlight=False)
    if ledger.get("ladder"):
        shares.show(ledger["ladder"], console)
    console.print(_lengths(ledger))
    console.print(_protocols(ledger))
    diagnose.show(ledger["diagnosis"], console)


def _lengths(ledger: dict[str, Any]) -> Table:
    table = Table(title="beyond the trained length (each length is a functional of its own)", title_justify="left")
    for heading in ("tokens", "D", "P - D", "I - D at most", "R - D", "95 %"):
        table.add_column(heading, justify="right")
    for length, part in ledger["lengths"].items():
        r = part["gaps"]["R-D"]
        table.add_row(
            length,
            _number(part["layers"]["D"]["loss"], 4),
            _number(part["gaps"]["P-D"]["nats"], 4, sign=True),
            _number(number(part["layers"]["I"]["loss"]) - number(part["layers"]["D"]["loss"]), 4, sign=True),
            _number(r["nats"], 4, sign=True),
            interval(r, 4),
        )
    return table


def _protocols(ledger: dict[str, Any]) -> Table:
    table = Table(title="what each protocol reports of these weights", title_justify="left")
    for heading in ("protocol", "score", "95 %", "expected", "ceiling", "world part", "model part", "sampling"):
        table.add_column(heading, justify="left" if heading == "protocol" else "right")
    for name, seen in ledger["protocols"].items():
        parts = seen["parts"] or {}
        table.add_row(
            name if seen["unit"] == ledger["unit"] else f"{name} ({seen['unit']})",
            _number(seen["score"]["value"], 4),
            interval(seen["score"], 4),
            _number(seen["expected"]["value"], 4),
            _number(seen["ceiling"]["value"], 4),
            *(_number(parts[k]["value"], 4, sign=True) if k in parts else "" for k in ("world", "model", "sampling")),
        )
    return table


def interval(entry: dict[str, Any], digits: int = 6) -> str:
    """[low, high] of an entry; nothing where it is one number."""
    if entry["low"] == entry["high"]:
        return (
            "undefined"
            if entry["low"] is None
            else "exact"
            if entry["class"] == "exact"
            else _number(entry["low"], digits)
        )
    return f"[{_number(entry['low'], digits)}, {_number(entry['high'], digits)}]"


def _number(x: float | str | None, digits: int, sign: bool = False) -> str:
    if x is None:
        return "undefined"
    return f"{number(x):{'+' if sign else ''}.{digits}f}"


def sentences(ledger: dict[str, Any]) -> dict[str, str]:
    """One plain sentence for each gap, from the numbers alone."""
    return {
        "P-D": _perception(ledger),
        "I-P": _instantiation(ledger),
        "R-I": _reach(ledger),
        "O-R": _observation(ledger),
    }


def _perception(ledger: dict[str, Any]) -> str:
    gap, concept = ledger["gaps"]["P-D"], ledger["perception"]["name"]
    if gap["nats"] is None:
        return f"the concept {concept} says nothing at this length: undefined, unless an extension rule is declared."
    if number(gap["high"]) <= 1e-9:
        return f"the concept {concept} can hold this world without loss ({gap['class']} zero)."
    if number(gap["low"]) <= 0:
        return f"the concept {concept} costs at most {number(gap['high']):.2g} nats; whether anything is open."
    return (
        f"even the best reader that the concept {concept} allows loses {number(gap['nats']):.4f} nats ({gap['class']})."
    )


def _instantiation(ledger: dict[str, Any]) -> str:
    gap = ledger["gaps"]["I-P"]
    if gap["nats"] is None:
        return "undefined, because the concept is."
    low, high, witness = number(gap["low"]), number(gap["high"]), ledger["witness"]
    if high < 0:
        return f"surplus: the weights of {witness} do at least {-high:.4f} nats better than their concept allows."
    if ledger["contained"] and high < 1e-6:
        return f"the architecture holds the concept: weights of {witness} reach it."
    inside = (
        "it lies inside the concept, so it cannot be below it" if ledger["contained"] else "no containment is proved"
    )
    between = f"the architecture's best lies between {low:+.4f} and {high:+.4f} of the concept's"
    return f"{between} ({inside}; witness: {witness})."


def _reach(ledger: dict[str, Any]) -> str:
    gap, members = ledger["gaps"]["R-I"], [number(m["excess"]) for m in ledger["members"]]
    if lost := ledger.get("diverged"):
        named = ", ".join(f"seed {seed} at step {step}" for seed, step in lost.items())
        rest = f"; the others are {_number(ledger['settled']['nats'], 4)} above the world" if ledger["settled"] else ""
        return f"{len(lost)} of {len(members)} seeds diverged ({named}), so the mean is infinite{rest}."
    if gap["nats"] == "inf":
        return "some member gives an impossible price to a possible token, or diverged: the mean is infinite."
    return (
        f"training stops at least {number(gap['low']):.4f} and at most {number(gap['high']):.4f} nats above the "
        f"architecture's best; seeds end between {min(members):.4f} and {max(members):.4f} above the world."
    )


def _observation(ledger: dict[str, Any]) -> str:
    gap, seen = ledger["gaps"]["O-R"], ledger["protocols"][ledger["observation"]]
    parts = {k: number(v["value"]) for k, v in (seen.get("parts") or {}).items()}
    whole = f"{ledger['observation']} reports {number(gap['nats']):+.4f} nats against the truth of these weights"
    return whole + (": " + ", ".join(f"{k} {v:+.4f}" for k, v in parts.items()) + "." if parts else ".")
