"""Grammar worlds: documents drawn from a probabilistic context-free grammar, each closed by an end token.

The filter is chart.py, the text format and the closures are grammar_normal_form.py.
"""

from collections.abc import Iterable
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from worlds.chart import PCFG
from worlds.grammar_normal_form import Rules, check, expectation, normal_form, parse, tokens_of


def pcfg(rules: str | Iterable[str], document: int = 256, unambiguous: bool = False) -> PCFG:
    """Documents of a probabilistic context-free grammar, one after another, each closed by an end token.

    Any productions: empty, unit (cycles too, unless they are sure) and left-recursive ones. Refused: probabilities of a
    symbol that do not sum to one (to 1e-9), unreachable and useless symbols, and a grammar that loses mass, that is
    whose expectation matrix has a spectral radius of 1 or more (Booth & Thompson 1973, IEEE Trans. Comput. C-22:442).
    Tokens are numbered in the order of their first appearance, and the end token comes last. Starts fresh.

    Args:
      rules: the text of the grammar (it holds "->"), its lines, or the path of a file with the text; the format is that
        of grammar_normal_form.py: S -> NP VP [0.7] | 'a' S [0.3].
      document: tokens of the longest document that will be read, at least 1. A longer one is an error, never a wrong
        number. The cost of memory and time is said at chart.PCFG.
      unambiguous: the user's word that no document has two derivations: then the entropy rate is exact, and not an
        interval (`worlds.grammar_entropy`).

    >>> pcfg("S -> 'a' [0.8] | S S [0.2]").vocab_size
    2
    """
    return from_rules(parse(_text(rules)), document, unambiguous)


def from_rules(rules: Rules, document: int, unambiguous: bool) -> PCFG:
    """The world of parsed rules."""
    if document < 1:
        raise ValueError(f"pcfg: document must be at least 1 token, but is {document}")
    check(rules)
    form = normal_form(rules)
    corner = np.zeros((len(form.binary),) * 2)
    np.add.at(corner.T, form.left, form.binary.T)
    nats, tokens = _derivation(rules)
    return PCFG(
        empty=jnp.asarray(form.empty, float),
        binary=jnp.asarray(form.binary, float),
        lexical=jnp.asarray(form.lexical, float),
        closure=jnp.asarray(np.linalg.inv(np.eye(len(corner)) - corner), float),
        left=tuple(form.left.tolist()),
        right=tuple(form.right.tolist()),
        nats=jnp.asarray(nats, float),
        tokens=jnp.asarray(tokens, float),
        names=tuple(tokens_of(rules)),
        unambiguous=unambiguous,
        document=document,
    )


def _text(rules: str | Iterable[str]) -> str:
    if not isinstance(rules, str):
        return "\n".join(rules)
    if "->" in rules:
        return rules
    if not Path(rules).is_file():
        raise ValueError(
            f"pcfg: rules must be text with '->' in it or the path of a file, but there is no file {rules!r}"
        )
    return Path(rules).read_text(encoding="utf-8")


def _derivation(rules: Rules) -> tuple[float, float]:
    """(e_S (I - M)^-1 h, 1 + e_S (I - M)^-1 t): entropy and tokens of a derivation from those of each rewriting."""
    rows = [
        (np.array(list(rights.values())), [sum(s[0] == "'" for s in r) for r in rights]) for rights in rules.values()
    ]
    visits = np.linalg.inv(np.eye(len(rules)) - expectation(rules))[0]
    nats, tokens = visits @ [-(p * np.log(p)).sum() for p, _ in rows], visits @ [p @ t for p, t in rows]
    return float(nats), float(1 + tokens)


def palindrome(pairs: Iterable[float] = (0.3, 0.3), document: int = 256) -> PCFG:
    """Even palindromes: S -> v S v with probability pairs[v] for each token v, and S -> empty with the rest.

    Nothing marks the middle, so the past allows many, and the law needs all of them. No word has two derivations, so
    the entropy rate is exact: with q = sum of pairs, H(pairs, 1 - q) / (1 + q) nats per token.

    Args:
      pairs: [token] probabilities, each above 0, their sum below 1.
      document: as for `pcfg`.
    """
    pairs = [float(p) for p in pairs]
    if not pairs or min(pairs) <= 0 or sum(pairs) >= 1:
        raise ValueError(f"palindrome: pairs must be above 0 with a sum below 1, but are {pairs}")
    rights = {(f"'{v}", "S", f"'{v}"): p for v, p in enumerate(pairs)}
    return from_rules({"S": {**rights, (): 1 - sum(pairs)}}, document, unambiguous=True)


def cfg3(levels: int = 4, symbols: int = 3, rules: int = 2, seed: int = 0) -> PCFG:
    """A layered grammar in the manner of cfg3 (Allen-Zhu & Li 2023, arXiv:2305.13673, section 2).

    The root stands above `levels` - 1 levels of `symbols` each, and the last level is the tokens. Each symbol is
    rewritten, with equal probabilities, by one of `rules` sequences of 2 or 3 symbols of the level below; the sequences
    are drawn at random (the length first, then the symbols), all different within a level, and drawn again until every
    symbol is used. The paper's grammars have levels 7, symbols 3, rules 2 and documents of up to 3^6 = 729 tokens; its
    own tables are not reproduced. No document is longer than 3^(levels - 1) tokens, so none is refused.

    Args:
      levels: root and tokens included, at least 2.
      symbols: on each level below the root, at least 2.
      rules: of each symbol, at least 1.
      seed: of the draw.
    """
    for name, value, least in (("levels", levels, 2), ("symbols", symbols, 2), ("rules", rules, 1)):
        if value < least:
            raise ValueError(f"cfg3: {name} must be at least {least}, but is {value}")
    if symbols * rules > symbols**2 + symbols**3:
        raise ValueError(f"cfg3: symbols * rules must be at most symbols^2 + symbols^3, but is {symbols * rules}")
    random, grammar = np.random.default_rng(seed), {}
    for level in range(1, levels):
        heads = ["root"] if level == 1 else [f"{level - 1}.{i}" for i in range(symbols)]
        below = [f"'{i}" if level == levels - 1 else f"{level}.{i}" for i in range(symbols)]
        drawn = _different_sequences(random, below, len(heads) * rules)
        for i, head in enumerate(heads):
            grammar[head] = {right: 1 / rules for right in drawn[i * rules : (i + 1) * rules]}
    return from_rules(grammar, 3 ** (levels - 1), unambiguous=False)


def _different_sequences(random: np.random.Generator, below: list[str], count: int) -> list[tuple[str, ...]]:
    """`count` different sequences of 2 or 3 symbols, in which every symbol that fits appears."""
    while True:
        drawn: dict[tuple[str, ...], None] = {}
        while len(drawn) < count:
            drawn[tuple(random.choice(below, random.integers(2, 4)).tolist())] = None
        if len({s for right in drawn for s in right}) == min(len(below), 3 * count):
            return list(drawn)
