"""Grammars against closed forms, an iteration of the rules as they stand, and two other libraries."""

import itertools
from fractions import Fraction
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worlds import base, grammar
from worlds.grammar_normal_form import empty_probability, expectation, parse, spectral_radius

LEFT_RECURSIVE = "NP -> NP PP [0.3] | 'n' [0.6] | 'd' NP [0.1]; PP -> 'p' NP [1]"
EMPTY_AND_UNIT = """
S -> A B [0.5] | B [0.2] | S 'c' [0.2] | [0.1]          # empty, unit and left-recursive
A -> B [0.3] | 'a' [0.3] | A A [0.2] | [0.2]             # a unit chain A -> B -> A ...
B -> A [0.25] | 'b' S 'b' [0.15] | 'b' [0.4] | [0.2]     # ... that closes a cycle
"""
LONG = "S -> A 'x' S B [1/4] | A B [3/4]; A -> 'x' [1/2] | [1/4] | 'y' 'y' 'y' [1/4]; B -> 'y' [2/3] | S [1/3]"
GRAMMARS = {"left recursion": LEFT_RECURSIVE, "empty and unit": EMPTY_AND_UNIT, "long": LONG}


score = jax.jit(base.log_conditionals)


def conditionals(world, tokens):
    return np.exp(score(world, jnp.asarray(tokens, jnp.int32)))


def prefix_probabilities(world, tokens):
    rows = conditionals(world, tokens)
    return np.cumprod(rows[np.arange(len(tokens)), tokens])


def test_stolckes_grammar_has_its_prefix_probabilities():
    world, p, q = grammar.pcfg("S -> a [0.8] | S S [0.2]"), 0.8, 0.2
    found = prefix_probabilities(world, [0] * 5)
    assert np.allclose(found[:3], [1, q, (1 + p) * q**2], rtol=1e-14, atol=0)
    assert np.allclose(found, [1, 0.2, 0.072, 0.03104, 0.014656], rtol=1e-13, atol=0)
    strings = [found[n - 1] * conditionals(world, [0] * (n + 1))[n, 1] for n in (1, 2, 3)]
    assert np.allclose(strings, [0.8, 0.128, 0.04096], rtol=1e-13, atol=0)


@pytest.mark.parametrize("p", ["0.6", "0.9"])
def test_catalan_numbers_to_sixty_tokens(p):
    """P(a^n) = Catalan(n-1) p^n q^(n-1); the prefix probabilities are the exact tails of that law."""
    p, q = Fraction(p), 1 - Fraction(p)
    law = [Fraction(comb(2 * n - 2, n - 1), n) * p**n * q ** (n - 1) for n in range(1, 60)]
    tails = [1 - sum(law[:n], Fraction(0)) for n in range(60)]
    found = prefix_probabilities(grammar.pcfg(f"S -> 'a' [{p}] | S S [{q}]"), [0] * 60)
    assert np.allclose(found, np.array(tails, float), rtol=1e-12, atol=0)


def test_left_recursion_multiplies():
    """S -> S b [r] | a: P(a b^n ...) = r^n; and any number of NPs may open before n: the closure is 1/(1 - r)."""
    found = prefix_probabilities(grammar.pcfg("S -> S 'b' [0.7] | 'a' [0.3]"), [1, 0, 0, 0])  # b is numbered first
    assert np.allclose(found, [1, 0.7, 0.49, 0.343], rtol=1e-14, atol=0)
    assert np.isclose(grammar.pcfg(LEFT_RECURSIVE).closure[0, 0], 1 / 0.7, rtol=1e-15)


def iterated(rules, word, rounds=500):
    """(P(document begins with word), P(document = word)), by iterating the rules as they stand from zero.

    No closure, no normal form: inside[A, i, j] = P(A derives word[i:j]) and prefix[A, i] = P(A begins with word[i:]).
    """
    n = len(word)
    inside = {(a, i, j): 0.0 for a in rules for i in range(n + 1) for j in range(i, n + 1)}
    prefix = {(a, i): float(i == n) for a in rules for i in range(n + 1)}

    def derives(s, i, j):
        return inside[s, i, j] if s in rules else float(j == i + 1 and word[i] == s[1:])

    def begins(s, i):
        return prefix[s, i] if s in rules else float(i == n or (i == n - 1 and word[i] == s[1:]))

    def all_derive(right, i, j):
        if not right:
            return float(i == j)
        return sum(derives(right[0], i, k) * all_derive(right[1:], k, j) for k in range(i, j + 1))

    def all_begin(right, i):
        if i == n or not right:
            return float(i == n)
        split = sum(derives(right[0], i, k) * all_begin(right[1:], k) for k in range(i, n))
        return begins(right[0], i) + split

    for _ in range(rounds):
        before = inside, prefix
        inside = {(a, i, j): sum(p * all_derive(r, i, j) for r, p in rules[a].items()) for a, i, j in inside}
        prefix = {(a, i): sum(p * all_begin(r, i) for r, p in rules[a].items()) for a, i in prefix}
        if before == (inside, prefix):
            break
    start = next(iter(rules))
    return prefix[start, 0], inside[start, 0, n]


@pytest.mark.parametrize("text", GRAMMARS.values(), ids=GRAMMARS.keys())
def test_prefix_law_is_the_fixed_point_of_the_rules_as_they_stand(text):
    world, rules = grammar.pcfg(text), parse(text)
    end = world.vocab_size - 1
    words = list(itertools.product(range(end), repeat=3))
    rows = np.exp(jax.vmap(score, (None, 0))(world, jnp.array([[*word, end] for word in words])))
    for word, row in zip(words, rows, strict=True):
        found = np.cumprod(row[np.arange(4), [*word, end]])
        assert np.allclose(found[2:], iterated(rules, [world.names[v] for v in word]), rtol=1e-11, atol=0)


def test_palindromes_against_all_strings():
    """P(begins with w) = sum over palindromes up to 12 tokens, and what is longer is at most .6^7."""
    world = grammar.palindrome((0.3, 0.3))
    halves = [h for n in range(7) for h in itertools.product((0, 1), repeat=n)]
    law = {h + h[::-1]: 0.4 * 0.3 ** len(h) for h in halves}
    for prefix in itertools.product((0, 1), repeat=4):
        found = prefix_probabilities(world, [*prefix, 2])
        begins = sum(p for word, p in law.items() if word[:4] == prefix)
        assert begins <= found[3] <= begins + 0.6**7
        assert np.isclose(found[4], law.get(prefix, 0), rtol=1e-13, atol=0)


def test_entropy_rate_of_palindromes_is_that_of_their_decisions():
    rate = grammar.palindrome((0.3, 0.3)).entropy_rate()
    decision = -2 * 0.3 * np.log(0.3) - 0.4 * np.log(0.4)
    assert rate.kind == "exact" and np.isclose(rate.value, decision / 1.6, rtol=1e-14)
    other = grammar.pcfg("S -> a S a [0.3] | b S b [0.3] | [0.4]", unambiguous=True)
    assert np.isclose(other.entropy_rate().value, rate.value, rtol=1e-14)


def test_an_ambiguous_grammar_has_a_certified_rate():
    """a^n has one word per length, but Catalan(n-1) derivations: the true rate is H(length) / E[length + 1]."""
    rate = grammar.pcfg("S -> a [0.8] | S S [0.2]").entropy_rate()
    law = np.array([comb(2 * n - 2, n - 1) / n * 0.8**n * 0.2 ** (n - 1) for n in range(1, 200)])
    true = -(law * np.log(law)).sum() / (law @ np.arange(2, 201))
    assert rate.kind == "certified" and rate.low <= true <= rate.high
    assert rate.high - rate.low < 1e-6


def test_the_certified_rate_holds_the_exact_one():
    """A grammar whose derivations are its words, once declared so and once not."""
    text = "S -> a S b [.2] | c S [.2] | d [.6]"
    known, proved = (grammar.pcfg(text, unambiguous=claim).entropy_rate() for claim in (True, False))
    assert (known.kind, proved.kind) == ("exact", "certified")
    assert proved.low <= known.value <= proved.high and proved.high - proved.low < 0.1


def test_empty_probabilities_solve_their_equations():
    """Grammar S -> S S [q] | a [r] | empty: e = q e^2 + s, least root in closed form."""
    q, s = 0.3, 0.2
    e = empty_probability({"S": {("S", "S"): q, ("'a",): 1 - q - s, (): s}})["S"]
    assert np.isclose(e, (1 - np.sqrt(1 - 4 * q * s)) / (2 * q), rtol=1e-15)
    assert empty_probability({"S": {("E", "'a"): 1.0}, "E": {("E", "E"): 0.3, (): 0.7}}) == {"S": 0.0, "E": 1.0}


def test_a_unit_cycle_is_a_geometric_sum():
    """S -> T [.5] | a [.5], T -> S [.8] | b [.2]: P(a) = .5 / (1 - .4), P(b) = .1 / (1 - .4)."""
    first = conditionals(grammar.pcfg("S -> T [.5] | a [.5]; T -> S [.8] | b [.2]"), [0])[0]
    assert np.allclose(first, [0.5 / 0.6, 0.1 / 0.6, 0], rtol=1e-15, atol=0)


def test_layered_documents_stay_on_their_levels_and_end_in_time():
    world = grammar.cfg3(levels=4, symbols=3, rules=2, seed=1)
    tokens = np.asarray(jax.vmap(base.sample, (None, 0, None))(world, jax.random.split(jax.random.key(0), 32), 56))
    ends = [np.flatnonzero(row == 3) for row in tokens]
    lengths = np.concatenate([np.diff(np.concatenate([[-1], e])) - 1 for e in ends])
    assert lengths.min() >= 8 and lengths.max() <= 27
    assert world.document == 27


def test_a_document_of_729_tokens_does_not_underflow():
    """The right-linear S -> v S [.3 each] | empty [.1]: every conditional is known, at any length."""
    world = grammar.pcfg("S -> a S [.3] | b S [.3] | c S [.3] | [.1]", document=729)
    tokens = np.asarray(jax.random.randint(jax.random.key(0), (729,), 0, 3))
    assert np.allclose(conditionals(world, [*tokens, 3]), [[0.3, 0.3, 0.3, 0.1]], rtol=1e-11, atol=0)


def test_an_impossible_token_leaves_nothing_for_ever():
    rows = conditionals(grammar.pcfg("S -> a b [0.5] | a S b [0.5]"), [0, 1, 0, 2, 0])
    assert np.array_equal(rows[2:], [[0, 0, 1], [0, 0, 0], [0, 0, 0]])


def test_documents_in_a_batch_at_different_places_score_as_alone():
    world = grammar.pcfg(EMPTY_AND_UNIT, document=12)
    tokens = jax.vmap(base.sample, (None, 0, None))(world, jax.random.split(jax.random.key(3), 8), 12)
    together = jax.vmap(base.log_conditionals, (None, 0))(world, tokens)
    alone = jnp.stack([score(world, row) for row in tokens])
    assert np.allclose(np.exp(together), np.exp(alone), rtol=1e-13, atol=1e-300)
    single = base.log_conditionals(base.cast(world, jnp.float32), tokens[0])
    assert single.dtype == jnp.float32
    assert np.allclose(np.exp(single), np.exp(alone[0]), atol=1e-6)


def test_a_chart_that_wraps_around_gives_the_same_law():
    """Documents that fit into a small chart score as in a large one, however long the stream."""
    text = "S -> a S a [.2] | b S [.2] | [.6]"
    tokens = base.sample(grammar.pcfg(text), jax.random.key(1), 60)
    longest = int(np.diff(np.flatnonzero(np.asarray(tokens) == 2)).max())
    small = base.log_conditionals(grammar.pcfg(text, document=longest + 1), tokens)
    assert np.allclose(np.exp(small), conditionals(grammar.pcfg(text), tokens), rtol=1e-13, atol=0)


def test_a_document_that_outgrows_its_chart_is_an_error_in_a_compiled_program():
    world = grammar.pcfg("S -> a S [.5] | [.5]", document=5)
    log_prob = jax.jit(jax.vmap(base.log_prob, (None, 0)))
    fits, too_long = jnp.array([[0, 0, 0, 0, 0, 1, 0], [0] * 3 + [1] * 4]), jnp.array([[0] * 7, [0, 1] * 3 + [0]])
    assert np.isfinite(log_prob(world, fits)).all()
    with pytest.raises(jax.errors.JaxRuntimeError, match="at most document = 5 tokens, but one has 6"):
        log_prob(world, too_long).block_until_ready()


@pytest.mark.parametrize(
    "text, rule",
    [
        ("S -> S S [0.6] | a [0.4]", r"spectral radius .* must lie below 1, but is 1.2"),
        ("S -> S S [0.5] | a [0.5]", r"spectral radius .* must lie below 1, but is 1 "),
        ("S -> a [0.5] | b [0.499999]", "must sum to one, but those of S sum to 0.999999"),
        ("S -> a [1]; T -> b [1]", "reachable from the start S, but T is not"),
        ("S -> a [0.5] | T [0.5]; T -> T b [1]", "derive some finite string, but T cannot"),
        ("S -> T [1]; T -> S [1]", "but S, T cannot .*unit rules that cycle with probability 1"),
        ("S -> T a [1]", "every symbol must have a rule, but T has none"),
        ("S -> a [1.5]", r"must lie in \(0, 1\], but in .* is \[1.5\]"),
        ("S -> a [-0.5] | b [1.5]", r"must lie in \(0, 1\]"),
        ("S -> a [x]", r"must be a number, but in .* is \[x\]"),
        ("S -> a", "every alternative must end in its probability in brackets"),
        ("S -> a [.5] | b", "every alternative must end in its probability in brackets"),
        ("S a -> b [1]", "a line must read SYMBOL -> SYMBOLS"),
        ("# -> only a comment", "at least one rule"),
        ("S -> [1]", "start symbol must derive at least one token"),
        ("no/such/file.txt", "but there is no file 'no/such/file.txt'"),
    ],
)
def test_bad_grammars_are_refused_with_the_rule(text, rule):
    with pytest.raises(ValueError, match=rule):
        grammar.pcfg(text)


def test_bad_numbers_are_refused_with_the_rule():
    with pytest.raises(ValueError, match="document must be at least 1 token, but is 0"):
        grammar.pcfg("S -> a [1]", document=0)
    with pytest.raises(ValueError, match="sum below 1"):
        grammar.palindrome((0.5, 0.5))
    for levels, symbols, rules in ((1, 3, 2), (3, 1, 2), (3, 3, 0), (3, 2, 7)):
        with pytest.raises(ValueError, match="cfg3: "):
            grammar.cfg3(levels, symbols, rules)


def test_the_text_may_be_a_file_lines_or_statements(tmp_path):
    text = "S -> 'a b' \"S\" S [1/4] # comment ; not a rule\n   | [0.75]"
    with pytest.raises(ValueError, match="a line must read"):
        grammar.pcfg(text)  # a rule may not span lines
    text = "S -> 'a b' S \"'\" [1/4] # a comment ; not a rule\nS -> '#' ';' [.25] | ε [.5]"
    (tmp_path / "rules.txt").write_text(text, encoding="utf-8")
    worlds = [grammar.pcfg(text), grammar.pcfg(text.split("\n")), grammar.pcfg(str(tmp_path / "rules.txt"))]
    assert all(world.names == ("a b", "'", "#", ";") for world in worlds)
    assert parse(text) == parse(text.replace("# a comment ; not a rule\n", ";").replace("ε", "empty"))


def test_the_spectral_radius_is_exact_where_eigenvalues_are_defective():
    """A long chain under one loop: all eigenvalues but .999 are 0, in one Jordan block."""
    matrix = np.diag(np.ones(60) * 5, 1)
    matrix[60, 60] = 0.999
    assert spectral_radius(matrix)[0] == 0.999


@pytest.mark.parametrize("text", GRAMMARS.values(), ids=GRAMMARS.keys())
def test_genlm_grammar_agrees(text):
    genlm = pytest.importorskip("genlm.grammar")
    from genlm.grammar.cfglm import EOS, add_EOS

    world, rules = grammar.pcfg(text), parse(text)
    peer = genlm.CFG(R=genlm.Float, S=next(iter(rules)), V=set(world.names))
    for head, rights in rules.items():
        for right, p in rights.items():
            peer.add(p, head, *(s.removeprefix("'") for s in right))
    peer = genlm.EarleyLM(add_EOS(peer))
    tokens = np.asarray(base.sample(world, jax.random.key(5), 40))
    document = tokens[: int(np.argmax(tokens == world.vocab_size - 1)) or 40][:12]
    for t, row in enumerate(conditionals(world, [*document, 0])):
        law = peer.p_next(tuple(world.names[v] for v in document[:t]))
        assert np.allclose(row, [law[name] for name in (*world.names, EOS)], atol=1e-9)


def test_nltk_agrees_on_whole_documents():
    nltk = pytest.importorskip("nltk")
    text = "S -> S S [0.3] | 'a' [0.3] | 'b' T [0.4]\nT -> 'a' S [0.25] | 'b' [0.75]"
    parser, world = nltk.InsideChartParser(nltk.PCFG.fromstring(text)), grammar.pcfg(text)
    for word in itertools.product("ab", repeat=5):
        peer = sum(tree.prob() for tree in parser.parse_all(list(word)))
        found = prefix_probabilities(world, [*("ab".index(s) for s in word), 2])[-1]
        assert np.isclose(found, peer, rtol=1e-12, atol=0)


@pytest.mark.slow
def test_random_grammars_are_the_fixed_points_of_their_rules():
    """Forty grammars with empty, unit, long and left-recursive rules at random, all words of three tokens."""
    random, tried, score_all = np.random.default_rng(0), 0, jax.jit(jax.vmap(base.log_conditionals, (None, 0)))
    while tried < 40:
        text = _random_rules(random)
        try:
            world = grammar.pcfg(text)
        except ValueError:
            continue  # loses mass, or has a useless symbol
        if spectral_radius(expectation(parse(text)))[0] > 0.97:
            continue  # the iteration would take for ever
        tried, end = tried + 1, world.vocab_size - 1
        words = list(itertools.product(range(end), repeat=3))
        rows = np.exp(score_all(world, jnp.array([[*word, end] for word in words], jnp.int32)))
        for word, row in zip(words, rows, strict=True):
            found = np.cumprod(row[np.arange(4), [*word, end]])[2:]
            expected = iterated(parse(text), [world.names[v] for v in word], rounds=3000)
            assert np.allclose(found, expected, rtol=1e-11, atol=0), text


def _random_rules(random):
    heads, lines = ["S", "A", "B"][: random.integers(1, 4)], []
    for head in heads:
        law = random.dirichlet(np.ones(random.integers(2, 5)))
        rights = [random.choice([*heads, "'a'", "'b'"], random.choice([0, 1, 1, 2, 2, 3])) for _ in law]
        lines.append(
            f"{head} -> " + " | ".join(f"{' '.join(r)} [{float(p)!r}]" for r, p in zip(rights, law, strict=True))
        )
    return "\n".join(lines)
