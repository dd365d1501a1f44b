"""Rules as text, and the same grammar in the normal form that a chart can read. Host-side: float64 numpy.

The text has one left-hand side per line (or between semicolons), alternatives separated by |, each with its probability
in brackets:

    S  -> NP VP [0.7] | 'a' S [3/10]     # a comment
    NP -> 'n' [0.5] | NP PP [0.3] | [0.2]

The first left-hand side is the start symbol. A token is quoted, or is a bare word in lower case (or a number) that no
rule rewrites. The empty string is written as nothing, as ε, or as one of the words empty, eps, epsilon.

Normal form (Chomsky 1959; closures as in Stolcke 1995, Computational Linguistics 21:165, section 4.5):
1. long rules are split at the right, A -> X Y Z becomes A -> X (Y Z), (Y Z) -> Y Z [1];
2. e_A = P(A derives the empty string) is the least solution of e = f(e), by Newton's method from 0, which climbs to it
   monotonely (Etessami & Yannakakis 2009) and is one exact linear solve where no rule multiplies two unknowns;
3. each rule is opened by which of its symbols are empty, and divided by 1 - e_A: all symbols are now non-empty;
4. unit chains are summed by (I - U)^-1, cycles included.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse.csgraph import breadth_first_order, connected_components

Right = tuple[str, ...]  # symbols of a right-hand side; tokens carry a leading quote
Rules = dict[str, dict[Right, float]]  # symbol -> right-hand side -> probability; the first symbol is the start

_ALTERNATIVE = re.compile(r"\s*((?:'[^']*'|\"[^\"]*\"|[^\[\]|'\"])*)\[([^\[\]]*)\]\s*(\||$)")
_STATEMENT = re.compile(r"(?:'[^']*'|\"[^\"]*\"|[^;])+")
_SYMBOL = re.compile(r"'[^']+'|\"[^\"]+\"|[^\s'\"]+")
_EMPTY = {"ε", "empty", "eps", "epsilon"}


def parse(text: str) -> Rules:
    """Reads the rules of the module docstring; repeated alternatives add up.

    >>> parse("S -> 'a' S [1/4] | [3/4]")
    {'S': {("'a", 'S'): 0.25, (): 0.75}}
    """
    lines = [part.strip() for line in text.splitlines() for part in _STATEMENT.findall(_without_comment(line))]
    heads = {line.split("->")[0].strip() for line in lines if "->" in line}
    rules: Rules = {}
    for line in filter(None, lines):
        head, arrow, rest = line.partition("->")
        head = head.strip()
        if not arrow or not re.fullmatch(r"[^\s'\"\[\]|]+", head) or head in _EMPTY:
            raise ValueError(f"pcfg: a line must read SYMBOL -> SYMBOLS [PROBABILITY] | ..., but is {line!r}")
        for right, probability in _alternatives(rest, line):
            symbols = tuple(s for s in (_symbol(word, heads) for word in _SYMBOL.findall(right)) if s)
            of_head = rules.setdefault(head, {})
            of_head[symbols] = of_head.get(symbols, 0.0) + probability
    if not rules:
        raise ValueError("pcfg: a grammar needs at least one rule SYMBOL -> SYMBOLS [PROBABILITY], but has none")
    return rules


def _without_comment(line: str) -> str:
    """Drops what follows a # outside quotes."""
    return re.sub(r"('[^']*'|\"[^\"]*\")|#.*", lambda match: match.group(1) or "", line)


def _alternatives(rest: str, line: str) -> Iterable[tuple[str, float]]:
    place = 0
    while True:
        found = _ALTERNATIVE.match(rest, place)
        if not found:
            raise ValueError(
                f"pcfg: every alternative must end in its probability in brackets, but in {line!r} got {rest[place:]!r}"
            )
        yield found[1], _probability(found[2], line)
        place = found.end()
        if found[3] != "|":
            return


def _probability(word: str, line: str) -> float:
    try:
        value = float(Fraction(word.replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"pcfg: a probability must be a number, but in {line!r} is [{word}]") from None
    if not 0 < value <= 1:
        raise ValueError(f"pcfg: a probability must lie in (0, 1], but in {line!r} is [{word}]")
    return value


def _symbol(word: str, heads: set[str]) -> str:
    """A token as 'name, a symbol as its name, nothing for the empty string."""
    if word[0] in "'\"":
        return "'" + word[1:-1]
    if word in heads:
        return word
    if word in _EMPTY:
        return ""
    if word[0].islower() or word[0].isdigit():
        return "'" + word
    raise ValueError(f"pcfg: every symbol must have a rule, but {word} has none (a token is quoted: '{word}')")


def tokens_of(rules: Rules) -> list[str]:
    """The tokens in the order of their first appearance."""
    names = (s[1:] for rights in rules.values() for right in rights for s in right if s[0] == "'")
    return list(dict.fromkeys(names))


def check(rules: Rules) -> None:
    """Refuses rows that do not sum to one, useless and unreachable symbols, sure unit cycles and lost mass."""
    for head, rights in rules.items():
        total = sum(rights.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(
                f"pcfg: the probabilities of each symbol must sum to one, but those of {head} sum to {total!r}"
            )
    heads = list(rules)
    expected = expectation(rules)
    reached = breadth_first_order(expected > 0, 0, return_predecessors=False)
    if lost := sorted(set(heads) - {heads[i] for i in reached}):
        raise ValueError(
            f"pcfg: every symbol must be reachable from the start {heads[0]}, but {', '.join(lost)} is not"
        )
    if useless := [h for h in heads if h not in _productive(rules)]:
        raise ValueError(
            f"pcfg: every symbol must derive some finite string, but {', '.join(useless)} cannot (a useless symbol, "
            "or unit rules that cycle with probability 1)"
        )
    radius, component = spectral_radius(expected)
    if radius >= 1 - 1e-12:
        names = ", ".join(heads[i] for i in component)
        raise ValueError(
            "pcfg: a grammar must not lose mass: the spectral radius of its expectation matrix must lie below 1, "
            f"but is {radius:.12g} (in {names})"
        )


def expectation(rules: Rules) -> Float[np.ndarray, "symbol symbol"]:
    """M[A, B]: the expected number of B in one rewriting of A."""
    place = {head: i for i, head in enumerate(rules)}
    matrix = np.zeros((len(rules), len(rules)))
    for head, rights in rules.items():
        for right, p in rights.items():
            for s in right:
                if s in place:
                    matrix[place[head], place[s]] += p
    return matrix


def _productive(rules: Rules) -> set[str]:
    """The symbols that derive some finite string."""
    found: set[str] = set()
    while True:
        more = {h for h, rights in rules.items() if any(all(s[0] == "'" or s in found for s in r) for r in rights)}
        if more == found:
            return found
        found = more


def spectral_radius(matrix: Float[np.ndarray, "n n"]) -> tuple[float, Int[np.ndarray, "member"]]:
    """The largest eigenvalue of a non-negative matrix and the component that has it.

    Taken by strongly connected component, where it is a simple (Perron) root, hence well conditioned.
    """
    _, label = connected_components(matrix > 0, connection="strong")
    components = [np.flatnonzero(label == c) for c in range(label.max() + 1)]
    radii = [np.abs(np.linalg.eigvals(matrix[np.ix_(c, c)])).max() for c in components]
    return float(max(radii)), components[int(np.argmax(radii))]


@dataclass(frozen=True)
class NormalForm:
    """A grammar of non-empty symbols, each with A -> B C over the listed pairs or A -> token; row 0 is the start."""

    empty: float  # P(the start symbol derives the empty string)
    left: Int[np.ndarray, "pair"]  # B of each pair (B, C)
    right: Int[np.ndarray, "pair"]  # C of each pair
    binary: Float[np.ndarray, "symbol pair"]  # P(A -> B C | A is not empty)
    lexical: Float[np.ndarray, "symbol token"]  # P(A -> token | A is not empty)


def normal_form(rules: Rules) -> NormalForm:
    """The four steps of the module docstring, on rules that passed `check`."""
    short = _split(rules)
    empty = empty_probability(short)
    if empty[next(iter(rules))] == 1:
        raise ValueError("pcfg: the start symbol must derive at least one token, but it derives the empty string only")
    opened = _open(short, empty)
    heads = list(opened)
    place = {head: i for i, head in enumerate(heads)}
    token = {name: i for i, name in enumerate(tokens_of(rules))}
    pairs = {r: i for i, r in enumerate(dict.fromkeys(r for rights in opened.values() for r in rights if len(r) == 2))}
    unit, binary, lexical = (np.zeros((len(heads), n)) for n in (len(heads), len(pairs), len(token)))
    for head, rights in opened.items():
        for right, p in rights.items():
            if len(right) == 2:
                binary[place[head], pairs[right]] += p
            elif right[0][0] == "'":
                lexical[place[head], token[right[0][1:]]] += p
            else:
                unit[place[head], place[right[0]]] += p
    closed = np.linalg.solve(np.eye(len(heads)) - unit, np.concatenate([binary, lexical], axis=1))
    used = sorted({0} | {place[s] for pair in pairs for s in pair})  # the others were only links of unit chains
    rank = {old: new for new, old in enumerate(used)}
    binary, lexical = closed[used, : len(pairs)], closed[used, len(pairs) :]
    left, right = (np.array([rank[place[pair[side]]] for pair in pairs], np.int32) for side in (0, 1))
    return NormalForm(empty[next(iter(rules))], left, right, binary, lexical)


def _split(rules: Rules) -> Rules:
    """Step 1: at most two symbols on the right; equal tails share their symbol; probabilities sum to exactly one."""
    short: Rules = {}
    for head, rights in rules.items():
        total = sum(rights.values())
        short[head] = {}
        for right, p in rights.items():
            short[head][_paired(right)] = p / total
            while len(right) > 2:
                right = right[1:]
                short.setdefault(_tail(right), {_paired(right): 1.0})
    return short


def _paired(right: Right) -> Right:
    return right if len(right) <= 2 else (right[0], _tail(right[1:]))


def _tail(right: Right) -> str:
    """A symbol that no line of text can hold."""
    return "(" + "\n".join(right) + ")"


def empty_probability(short: Rules) -> dict[str, float]:
    """Step 2: e_A = sum over rules of p times the product of e over its symbols; a token is never empty."""
    heads = list(short)
    place = {head: i for i, head in enumerate(heads)}
    never, e = _yields_token(short), np.zeros(len(heads))
    rows = [[(p, [place[s] for s in r]) for r, p in short[h].items() if all(s in place for s in r)] for h in heads]
    for _ in range(200):
        value, slope = np.zeros(len(heads)), np.zeros((len(heads), len(heads)))
        for i, row in enumerate(rows):
            for p, right in row:
                value[i] += p * np.prod(e[right])
                for k, s in enumerate(right):
                    slope[i, s] += p * np.prod(e[right[:k] + right[k + 1 :]])
        step = np.linalg.solve(np.eye(len(heads)) - slope, value - e)
        e = e + step
        if np.all(np.abs(step) <= 4 * np.finfo(float).eps * e):
            return {h: float(e[i]) if h in never else 1.0 for i, h in enumerate(heads)}
    raise ValueError("pcfg: the probabilities of the empty string must have a solution, but Newton's method found none")


def _yields_token(short: Rules) -> set[str]:
    """The symbols that derive some string with a token in it; all others are surely empty."""
    found: set[str] = set()
    while True:
        more = {h for h, rights in short.items() if any(s[0] == "'" or s in found for r in rights for s in r)}
        if more == found:
            return found
        found = more


def _open(short: Rules, empty: dict[str, float]) -> Rules:
    """Step 3: every rule, given that its head is not empty; tokens inside pairs become symbols of their own."""
    opened: Rules = {head: {} for head in short if empty[head] < 1}
    for head, rights in opened.items():
        for right, p in short[head].items():
            for kept, weight in _subsets(right, empty):
                if weight > 0 and kept != ():
                    rights[kept] = rights.get(kept, 0.0) + p * weight / (1 - empty[head])
    for rights in list(opened.values()):
        for right in rights:
            for s in right if len(right) == 2 else ():
                if s[0] == "'":
                    opened.setdefault(s, {(s,): 1.0})
    return opened


def _subsets(right: Right, empty: dict[str, float]) -> Iterable[tuple[Right, float]]:
    """Which symbols of a right-hand side are not empty, with the probability of that."""
    if not right:
        yield (), 1.0
        return
    e = empty.get(right[0], 0.0)
    for kept, weight in _subsets(right[1:], empty):
        yield kept, weight * e
        yield (right[0], *kept), weight * (1 - e)
