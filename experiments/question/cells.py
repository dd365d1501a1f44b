"""The cells of the four studies: one string of overrides for each run, in the order in which they are made.

A study's config (conf/experiment/*.yaml) holds groups of cells for each budget; a group is the product of its worlds
and schemes. Constants of schemes are matched to the trained length, as ALiBi and rotary embeddings were sized for 512
tokens: slopes so that m_min L = 2, rotary and sinusoidal bases so that as many pairs turn fully, T5's last bucket at a
quarter of the length. A constant that is given is literal.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

HOME = {  # the concept whose name each scheme carries
    "nope": "order_free",
    "alibi": "decay",
    "kerple_log": "power_decay",
    "fox": "decay",  # with gates; gated_decay itself is searched for small vocabularies only
    "rope": "offset",
    "t5": "offset",
    "learned": "absolute",
    "sinusoidal": "absolute",
}
GROUP = {"length", "worlds", "schemes", "concept", "train"}
FULL = 0.48  # share of rotary pairs that turn fully within the trained length: 512 tokens at base 10,000
SHORTEST = 32  # tokens, for which a base is matched; below, there are no pairs to speak of


def cells(budget: str, **budgets: Sequence[Mapping[str, Any]]) -> list[str]:
    """All cells of a budget.

    Args:
      budget: its name.
      budgets: by name, groups with `length` (trained tokens), `worlds` (overrides), `schemes` (a name and, perhaps,
        numbers: "alibi slopes=0.1"), `concept` ("home", the one whose name the scheme carries; "own", decay at the
        scheme's own slopes; or any perception), `train` (overrides of every cell).
    """
    if budget not in budgets:
        raise ValueError(f"study: budget must be one of {', '.join(budgets)}, but is {budget!r}")
    return [cell for group in budgets[budget] for cell in _group(group)]


def _group(group: Mapping[str, Any]) -> list[str]:
    if set(group) != GROUP:
        raise ValueError(f"study: a group of cells must have {', '.join(sorted(GROUP))}, but has {sorted(group)}")
    length, concept = group["length"], group["concept"]
    perceived = [perception(text, concept, length) for text in group["schemes"]]
    shared = f"reach.length={length} {group['train']}".strip()
    return [f"{world} {p} {shared}" for world, p in itertools.product(group["worlds"], perceived)]


def perception(text: str, concept: str, length: int) -> str:
    """The overrides of a scheme and of the concept that it stands under."""
    name, *numbers = text.split()
    given = dict(number.split("=", 1) for number in numbers)
    known = {"home": HOME.get(name), "own": "decay"}.get(concept, concept)
    if known is None:
        raise ValueError(f"study: {name} must have a home, {', '.join(HOME)}, to stand under it; name a concept")
    own = f" perception.concept.slopes=[{given['slopes']}]" if concept == "own" else ""
    return f"perception={known}{own} {scheme(name, length, **given)}"


def scheme(name: str, length: int, **given: Any) -> str:
    """The overrides of a position scheme, constants that are not given matched to the trained length."""
    matched: dict[str, dict[str, Any]] = {
        "alibi": {"slopes": "matched"},
        "alibi_learned": {"slopes": "matched"},
        "alibi_interpolated": {"scheme.slopes": "matched"},
        "fox": {"longest": max(2.0, length / 2)},
        "rope": {"base": base(length)},
        "sinusoidal": {"base": base(length)},
        "randomised": {"scheme.base": base(length)},
        "t5": {"buckets": 8, "distance": max(8, length // 4)},
    }
    numbers = matched.get(name, {}) | given
    return " ".join([f"perception/scheme={name}", *(f"perception.scheme.{k}={v}" for k, v in numbers.items())])


def base(length: int) -> float:
    """The rotary base at which pairs with a wavelength below `length` are the share that base 10,000 has at 512.

    Pair i of d/2 has the wavelength 2 pi base^(2i/d), so the share is ln(L / 2 pi) / ln base. In two digits.

    >>> base(512), base(64)
    (9600.0, 130.0)
    """
    exact = math.exp(math.log(max(length, SHORTEST) / (2 * math.pi)) / FULL)
    unit = 10.0 ** (math.floor(math.log10(exact)) - 1)
    return round(exact / unit) * unit


def between(
    vocab: int, lag: int, shares: Sequence[float], rates: Sequence[float], concentration: float = 0.1
) -> list[str]:
    """Worlds between decay, order-freeness and one offset, (1 - share) x geometric(rate) + share x (one lag).

    Share 0 is decay, order-free at rate 1; share 1 is the offset, whatever the rate. Between them there are two heads,
    each with a table of its own.

    Args:
      vocab: tokens.
      lag: the offset.
      shares: of the offset, from 0 to 1.
      rates: of the decay, up to 1.
      concentration: of the tables' rows; small is sharp.
    """
    return [
        _between(vocab, lag, share, rate, concentration)
        for share in shares
        for rate in (rates if share < 1 else rates[:1])
    ]


def _between(vocab: int, lag: int, share: float, rate: float, sharp: float) -> str:
    alone = f"world=decay world.vocab={vocab} world.table.concentration={sharp}"
    if share == 1:
        return f"{alone} world/kernel=offset world.kernel.lag={lag} world.table.seed=1"
    if share == 0:
        return f"{alone} world/kernel=uniform" if rate == 1 else f"{alone} world.kernel.rate={rate}"
    heads = f"world=decay_heads world.vocab={vocab} world.heads.far.kernel.lag={lag}"
    heads += f" world.heads.near.weight={1 - share:g} world.heads.far.weight={share:g}"
    heads += "".join(f" world.heads.{head}.table.concentration={sharp}" for head in ("near", "far"))
    if rate == 1:
        return f"{heads} world.heads.near.kernel._target_=worlds.kernel.uniform ~world.heads.near.kernel.rate"
    return f"{heads} world.heads.near.kernel.rate={rate}"
