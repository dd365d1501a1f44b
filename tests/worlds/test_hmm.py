"""Finite-state worlds against independent definitions: literal operators, sums over hidden paths, closed forms."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worlds import automata, base, belief, chain, generalised, grouped, hmm, scoring

REFERENCE, SINGLE, EXACT = 1e-9, 1e-5, 1e-12
E = math.e


def tom(alpha, beta):
    g = 1 / (4 * (alpha**2 + beta**2))
    m, o = (alpha**2 - beta**2) * g, 2 * alpha * beta * g
    return [[[0.25, 0, u], [0, m, 0], [u, 0, 0.25]] for u in (o, -o)] + [
        [[0.25, u, 0], [u, 0.25, 0], [0, 0, m]] for u in (o, -o)
    ]


def renewing(alpha, r):
    s, c = math.sin(alpha), math.cos(alpha)
    d = 1 - 2 * r * c + r * r
    a, b = (1 - r * c + r * s) / d, (1 - r * c - r * s) / d
    law = [1 - (2 / (1 - r) - a - b) / 4, 1 / (2 * (1 - r)), -a / 4, -b / 4]
    w = [1, 1 - r, 1 + r * (s - c), 1 - r * (s + c)]
    return [np.outer(w, law), r * np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, c, -s], [0, 0, s, c]])]


def beyond(alpha, beta):
    turned = [[[x, 0, 0], [0, 1, 0], [0, math.log(x), 1]] for x in (alpha, beta)]
    operators = np.array([np.outer([1, 1, 0], [1, -1, -1]), *turned])
    return operators / max(abs(np.linalg.eigvals(operators.sum(0))))


filtered = jax.jit(jax.vmap(base.filtered, (None, 0)))
likely = jax.jit(jax.vmap(base.log_prob, (None, 0)))
RRXOR = np.zeros((2, 5, 5))
for v, s, t, p in [(0, 0, 1, 0.3), (0, 1, 4, 0.2), (0, 2, 3, 0.2), (0, 4, 0, 1)]:
    RRXOR[v, s, t] = p
for v, s, t, p in [(1, 0, 2, 0.7), (1, 1, 3, 0.8), (1, 2, 4, 0.8), (1, 3, 0, 1)]:
    RRXOR[v, s, t] = p
CASES = {  # name: (the world, its operators written out)
    "coin": (hmm.coin(0.3), [[[0.7]], [[0.3]]]),
    "golden_mean": (hmm.golden_mean(0.3), [[[0.7, 0], [1, 0]], [[0, 0.3], [0, 0]]]),
    "even": (hmm.even(0.3), [[[0.7, 0], [0, 0]], [[0, 0.3], [1, 0]]]),
    "z1r": (hmm.z1r(0.3), [[[0, 1, 0], [0, 0, 0], [0.7, 0, 0]], [[0, 0, 0], [0, 0, 1], [0.3, 0, 0]]]),
    "rrxor": (hmm.rrxor(0.3, 0.2), RRXOR),
    "sns": (hmm.sns(0.3, 0.2), [[[0.7, 0.3], [0, 0.8]], [[0, 0], [0.2, 0]]]),
    "mess3": (
        hmm.mess3(0.15, 0.6),
        [
            [[0.42, 0.03, 0.03], [0.09, 0.14, 0.03], [0.09, 0.03, 0.14]],
            [[0.14, 0.09, 0.03], [0.03, 0.42, 0.03], [0.03, 0.09, 0.14]],
            [[0.14, 0.03, 0.09], [0.03, 0.14, 0.09], [0.03, 0.03, 0.42]],
        ],
    ),
    "tom_quantum": (generalised.tom_quantum(1, 1), tom(1, 1)),
    "tom_quantum, unsharp": (generalised.tom_quantum(1, 7.1), tom(1, 7.1)),
    "fanizza": (generalised.fanizza(2000, 0.49), renewing(2000, 0.49)),
    "fanizza, at the bound": (generalised.fanizza(1, 0.5), renewing(1, 0.5)),
    "post_quantum": (generalised.post_quantum(E, 0.5), beyond(E, 0.5)),
    "post_quantum, both above": (generalised.post_quantum(2, 1.5), beyond(2, 1.5)),
    "post_quantum, returning": (generalised.post_quantum(2, 0.5), beyond(2, 0.5)),
}
FLOORS = {  # h_1 ... h_9 in nats: enumeration from independent definitions, ten decimals
    "golden_mean": (hmm.golden_mean(0.5), [0.6365141683] + [0.4620981204] * 8),
    "even": (
        hmm.even(0.5),
        [0.6365141683, 0.6059391566, 0.5493061443, 0.5340186385, 0.5057021324]
        + [0.4980583794, 0.4839001264, 0.4800782499, 0.4729991234],
    ),
    "rrxor": (
        hmm.rrxor(0.5, 0.5),
        [0.6931471806, 0.6931471806, 0.6365141683, 0.6284872070, 0.5986786121]
        + [0.5776226505, 0.5614576571, 0.5398472553, 0.5269395120],
    ),
    "mess3": (
        hmm.mess3(0.15, 0.6),
        [1.0986122887, 1.0910677953, 1.0893914935, 1.0890037714, 1.0889147605]
        + [1.0888943074, 1.0888896097, 1.0888885306, 1.0888882828],
    ),
}


def fixed_vectors(operators):
    """Left and right eigenvectors of the sum with eigenvalue 1, start w = 1; by eigendecomposition."""
    total = operators.sum(0)
    ends = []
    for matrix in (total.T, total):
        values, vectors = np.linalg.eig(matrix)
        ends.append(vectors[:, np.abs(values - 1).argmin()].real)
    return ends[0] / (ends[0] @ ends[1]), ends[1]


def product(operators, word, start, w):
    for token in word:
        start = start @ operators[token]
    return start @ w


def over_paths(world, word):
    """The sum over all hidden paths, term by term."""
    first, moves = np.asarray(world.initial), np.asarray(world.transition)
    paths = itertools.product(range(len(first)), repeat=len(word) + 1)
    return math.fsum(
        first[path[0]] * math.prod(moves[v, s, t] for v, s, t in zip(word, path, path[1:], strict=False))
        for path in paths
    )


@pytest.mark.parametrize("name", CASES)
def test_words_have_the_probabilities_of_the_written_operators(name):
    world, operators = CASES[name][0], np.array(CASES[name][1])
    words = np.array(list(itertools.product(range(world.vocab_size), repeat=5)), np.int32)
    found = np.exp(likely(world, words))
    start, w = fixed_vectors(operators)
    np.testing.assert_allclose(found, [product(operators, word, start, w) for word in words], rtol=0, atol=EXACT)


def test_words_have_the_probabilities_of_all_hidden_paths():
    world = hmm.random_hmm(3, 2, 0.7, seed=5)
    words = np.array(list(itertools.product(range(2), repeat=4)), np.int32)
    found = np.exp(likely(world, words))
    np.testing.assert_allclose(found, [over_paths(world, word) for word in words], rtol=0, atol=EXACT)


scored = jax.jit(jax.vmap(base.log_conditionals, (None, 0)))


@pytest.mark.parametrize("name", FLOORS)
def test_floors_are_those_of_the_reference(name):
    world, reference = FLOORS[name]
    words = np.array(list(itertools.product(range(world.vocab_size), repeat=8)), np.int32)
    tokens = np.pad(words, ((0, 0), (0, 1)))
    for numbers, tolerance in ((world, REFERENCE), (base.cast(world, jnp.float32), SINGLE)):
        logs = jnp.asarray(scored(numbers, tokens), float)  # scored in either type, summed in float64
        steps = np.take_along_axis(np.asarray(logs)[:, :-1], words[:, :, None], axis=2)[:, :, 0].cumsum(1)
        weight = np.exp(np.pad(steps, ((0, 0), (1, 0))))
        floors = (weight * np.where(weight > 0, base.entropy(logs), 0)).sum(0) / weight.sum(0)
        np.testing.assert_allclose(floors, reference, rtol=0, atol=tolerance)


def test_mess3_words_and_beliefs():
    world = hmm.mess3(0.15, 0.6)
    for word, p in {(0,): 1 / 3, (0, 0): 0.13066666667, (0, 1): 0.10133333333, (0, 0, 0): 0.055093333333}.items():
        assert math.exp(base.log_prob(world, jnp.array(word))) == pytest.approx(p, abs=1e-11)
    after = world.advance(world.start(), jnp.array(0))
    np.testing.assert_allclose(belief.vector(after), [0.6, 0.2, 0.2], rtol=0, atol=EXACT)


def test_z1r_words_and_beliefs():
    world = hmm.z1r(0.5)
    assert math.exp(base.log_prob(world, jnp.array([1, 0, 0, 1, 1, 0]))) == pytest.approx(1 / 12, abs=EXACT)
    after = world.replace(initial=jnp.array([0.3, 0.1, 0.6]))
    after = after.advance(after.start(), jnp.array(0))
    np.testing.assert_allclose(belief.vector(after), [0.5, 0.5, 0], rtol=0, atol=EXACT)


@pytest.mark.parametrize("name", [name for name in CASES if "quantum" not in name and "fanizza" not in name])
def test_worlds_start_in_their_stationary_law(name):
    world = CASES[name][0]
    np.testing.assert_allclose(chain.stationary(world.transition), world.initial, rtol=0, atol=EXACT)
    np.testing.assert_allclose(world.initial @ world.transition.sum(0), world.initial, rtol=0, atol=EXACT)


def test_no_hypothesis_is_ever_lost():
    """Two coins, one of them for ever: 5,000 zeros leave odds of e^-11000, and 5,000 ones restore them."""
    p = np.array([0.1, 0.9])
    coins = hmm.HMM(jnp.asarray(np.stack([np.diag(1 - p), np.diag(p)])), jnp.full(2, 0.5))
    tokens = jnp.repeat(jnp.arange(2), 5000)
    logs = jax.jit(base.log_conditionals)(coins, tokens)
    seen = np.arange(10_000)
    zeros, ones = np.minimum(seen, 5000), np.maximum(seen - 5000, 0)
    each = [np.log(0.5) + zeros * math.log(1 - x) + ones * math.log(x) for x in p]
    expected = np.logaddexp(each[0] + math.log(0.1), each[1] + math.log(0.9)) - np.logaddexp(*each)
    np.testing.assert_allclose(logs[:, 1], expected, rtol=0, atol=1e-9)  # 10,000 steps of rounding at 1e-13 each


FORMS = {form.__name__: functools.partial(scoring.checked, form) for form in (scoring.linear, scoring.scanned)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["golden_mean", "mess3", "tom_quantum, unsharp", "post_quantum"])
def test_every_form_of_scoring_is_the_filter(form, name):
    world = CASES[name][0]
    tokens = np.array(list(itertools.product(range(world.vocab_size), repeat=5)), np.int32)
    for numbers, tolerance in ((world, EXACT), (base.cast(world, jnp.float32), SINGLE)):
        found = jax.jit(jax.vmap(FORMS[form], (None, 0)))(numbers, tokens)
        np.testing.assert_allclose(found, filtered(numbers, tokens), rtol=0, atol=tolerance)
        assert found.dtype == numbers.initial.dtype


@pytest.mark.parametrize("form", [scoring.linear, scoring.scanned])
def test_no_quick_form_trusts_itself_where_operators_have_signs(form):
    """Rounding, which differs between machines, cannot tell a cancelled zero: only the filter has a rule for it."""
    word = jnp.array([0, 1, 2, 0, 1])
    assert jax.jit(form)(generalised.post_quantum(2, 0.5), word)[1]
    assert not jax.jit(form)(hmm.mess3(0.15, 0.6), word)[1]


LARGE = hmm.random_hmm(grouped.STATES, 3, 0.5, seed=0)
SAYS = np.random.default_rng(1).dirichlet(np.ones(3), grouped.STATES).T
MOVES = np.asarray(LARGE.transition).sum(0)
NEARLY = 1 + 1e-6 * np.eye(grouped.STATES)[:3, :, None]
FACTORS = {  # large worlds: without a common factor, with one before or after what is said, and with all but one
    "none": LARGE,
    "speak, move": LARGE.replace(transition=jnp.asarray(SAYS[:, :, None] * MOVES)),
    "move, speak": LARGE.replace(transition=jnp.asarray(MOVES * SAYS[:, None, :])),
    "nearly": LARGE.replace(transition=jnp.asarray(SAYS[:, :, None] * MOVES * NEARLY)),
}


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("skewed", [False, True])
def test_many_sequences_of_a_large_world_at_once_are_scored_as_by_the_filter(name, skewed):
    """In groups by token, whose room is for even tokens: skewed ones need several rounds."""
    world = FACTORS[name]
    tokens = np.random.default_rng(2).choice(3, (10, 6), p=[0.98, 0.01, 0.01] if skewed else None).astype(np.int32)
    found = scored(world, tokens)
    np.testing.assert_allclose(found, filtered(world, tokens), rtol=0, atol=EXACT)
    np.testing.assert_allclose(found[3], jax.jit(base.log_conditionals)(world, tokens[3]), rtol=0, atol=EXACT)


@pytest.mark.parametrize("counts", [(40, 0, 0), (38, 1, 1), (0, 13, 27), (14, 13, 13)])
def test_groups_take_every_row_through_the_operator_of_its_token(counts):
    random = np.random.default_rng(0)
    tokens = random.permutation(np.repeat(np.arange(3, dtype=np.int32), counts))
    rows, moves = random.random((40, grouped.STATES)), random.random((3, grouped.STATES, 5))
    found = jax.jit(jax.vmap(grouped.moved, (0, 0, None)))(rows, tokens, moves)
    np.testing.assert_allclose(found, np.einsum("rs,rst->rt", rows, moves[tokens]), rtol=1e-14, atol=0)
    each = jax.vmap(jax.vmap(grouped.moved, (0, 0, None)), (0, None, 0))  # worlds mapped too
    both = jax.jit(each)(np.stack([rows, 2 * rows]), tokens, np.stack([moves, moves / 2]))
    np.testing.assert_allclose(both, np.stack([found, found]), rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", ["mess3", "post_quantum", "large"])
def test_draws_are_those_of_the_filter_from_the_same_keys(name):
    world = LARGE if name == "large" else CASES[name][0]
    keys = jax.random.split(jax.random.key(3), 16)
    tokens, laws = jax.jit(jax.vmap(lambda key: base.sample_with_law(world, key, 12)))(keys)
    expected, filter_laws = jax.jit(jax.vmap(lambda key: base.drawn(world, key, 12)))(keys)
    np.testing.assert_array_equal(tokens, expected)
    np.testing.assert_allclose(laws, filter_laws, rtol=0, atol=EXACT)


@pytest.mark.parametrize("at_once", [200, 199])
def test_a_sequence_is_drawn_as_jax_draws_each_of_its_tokens(at_once, monkeypatch):
    monkeypatch.setattr(base, "AT_ONCE", at_once)
    law = jnp.log(jnp.asarray([0.2, 0.0, 0.5, 0.3]))
    along, noise = base.noises(jax.random.key(1), 50, law)
    drawn = jax.vmap(lambda item: base.chosen(noise(item), law))(along)
    keys = jax.random.split(jax.random.key(1), 50)
    np.testing.assert_array_equal(drawn, jax.vmap(lambda key: jax.random.categorical(key, law))(keys))


def test_plain_numbers_know_when_they_lose_something():
    """A third hypothesis, 1e-360 behind after 60 tokens, is the only one that explains the last token but one."""
    p = np.array([0.9, 0.5, 1e-6])
    coins = np.stack([np.diag(1 - p - [0, 0, 0.5]), np.diag(p), np.diag([0, 0, 0.5])])
    world = hmm.HMM(jnp.asarray(coins), jnp.full(3, 1 / 3))
    ones = jnp.ones(62, jnp.int32)
    tokens = ones.at[-2].set(2)
    assert not scoring.linear(world, ones[:10])[1]
    plain, unsafe = scoring.linear(world, tokens)
    assert unsafe
    assert plain[-2, 2] == -jnp.inf  # what a filter in plain numbers says
    for form in (*FORMS.values(), base.filtered):
        found = jax.jit(form)(world, tokens)
        assert jnp.isfinite(found[-2, 2])
        assert float(found[-1, 2]) == pytest.approx(math.log(0.5), abs=1e-11)
    mapped = scored(world, jnp.stack([ones, tokens]))
    np.testing.assert_allclose(mapped[1], base.filtered(world, tokens), rtol=0, atol=1e-11)


def test_slopes_of_the_checked_form_are_those_of_the_filter():
    world, tokens = hmm.mess3(0.15, 0.6), jnp.array([0, 1, 2, 2, 0])
    found = jax.grad(lambda w: base.log_prob(w, tokens))(world)
    filter_log_prob = lambda w: base.filtered(w, tokens)[jnp.arange(5), tokens].sum()  # noqa: E731
    expected = jax.grad(filter_log_prob)(world)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


def test_words_that_cancel_are_impossible_and_come_back():
    """After a 0, n ones and n twos multiply x by 2^n and 2^-n: x - 1 - log x is 0 again, and 0 cannot follow."""
    world = generalised.post_quantum(2, 0.5)
    for n in (0, 1, 3):  # further on, rounding hides it
        word = jnp.array([0] + [1] * n + [2] * n + [0, 1])
        logs = base.log_conditionals(world, word)
        assert logs[-2, 0] == -jnp.inf
        assert jnp.isfinite(logs[:-1, 1:]).all()
        assert jnp.all(logs[-1] == -jnp.inf)


def test_a_periodic_chain_has_a_stationary_law_and_passing_states_have_none_of_it():
    ring = jnp.roll(jnp.eye(4), 1, axis=1)[None]
    np.testing.assert_allclose(chain.stationary(ring), 0.25, rtol=0, atol=EXACT)
    falling = jnp.array([[[0.5, 0.5, 0], [0, 0, 1], [0, 1, 0]]])
    law = chain.stationary(falling)
    assert law[0] == 0
    np.testing.assert_allclose(law, [0, 0.5, 0.5], rtol=0, atol=EXACT)
    np.testing.assert_allclose(jax.jit(chain.stationary)(falling), law, rtol=0, atol=EXACT)
    with pytest.raises(ValueError, match=r"one set of states that it visits for ever.*\[0, 1\]"):
        chain.stationary(jnp.eye(2)[None])


def test_long_run_shares_between_several_ends():
    moves = np.array([[0.5, 0.3, 0.2, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1.0, 0]])
    np.testing.assert_allclose(chain.long_run(moves, np.array([1.0, 0, 0, 0])), [0, 0.6, 0.2, 0.2], atol=EXACT)
    np.testing.assert_allclose(chain.long_run(moves, np.array([0, 0, 0, 1.0])), [0, 0, 0.5, 0.5], atol=EXACT)


@pytest.mark.parametrize("p_ignore", [0.8, 0.98, 0.1])
@pytest.mark.parametrize("start", ["fresh", "stationary"])
def test_reads_repeat_the_bit_that_was_written_last(p_ignore, start):
    world = automata.flip_flop(p_ignore, start)
    tokens = np.asarray(base.sample(world, jax.random.key(0), 4000))
    tokens = tokens if start == "fresh" else tokens[int(np.argmax(tokens < 3)) :]
    assert start != "fresh" or tokens[0] == 0
    assert len(tokens) > 3990
    tokens = tokens[: len(tokens) // 2 * 2]
    memory = None
    for instruction, bit in tokens.reshape(-1, 2):
        assert instruction < 3 <= bit
        assert instruction != 1 or memory is None or bit == memory
        memory = bit if instruction == 0 or (instruction == 1 and memory is None) else memory
    share = (tokens[::2] == 2).mean()
    assert abs(share - p_ignore) < 4.5 * math.sqrt(p_ignore * (1 - p_ignore) / (len(tokens) / 2)) + 1e-3


@pytest.mark.parametrize(("kinds", "depth", "p_end"), [(1, 3, 0.5), (2, 2, 0.3), (2, 3, 0), (3, 1, 0.9)])
def test_brackets_follow_their_definition(kinds, depth, p_end):
    """Every word of five tokens, with an explicit stack."""
    world, p_open = automata.dyck_bounded(kinds, depth, 0.4, p_end), 0.4
    assert world.vocab_size == 2 * kinds + (p_end > 0)

    def chance(word):
        p, stack = 1.0, []
        for token in word:
            if token == 2 * kinds:
                p *= p_end if not stack else 0
            elif token < kinds:
                p *= (1 - p_end if not stack else 0 if len(stack) == depth else p_open) / kinds
                stack.append(token)
            elif not stack or stack.pop() != token - kinds:
                return 0.0
            else:
                p *= 1 if len(stack) + 1 == depth else 1 - p_open
        return p

    words = np.array(list(itertools.product(range(world.vocab_size), repeat=5 if kinds < 3 else 4)), np.int32)
    found = np.exp(likely(world, words))
    np.testing.assert_allclose(found, [chance(word) for word in words], rtol=0, atol=EXACT)


def test_random_worlds_are_named_by_their_seed():
    one, again, other = (hmm.random_hmm(8, 4, 0.5, seed) for seed in (0, 0, 1))
    assert jnp.array_equal(one.transition, again.transition) and not jnp.array_equal(one.transition, other.transition)
    assert one.transition.shape == (4, 8, 8)


def test_an_independent_library_agrees_on_a_random_world():
    hmmlearn = pytest.importorskip("hmmlearn.hmm")
    rng = np.random.default_rng(0)
    first, moves, says = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5), 5), rng.dirichlet(np.ones(3), 5)
    peer = hmmlearn.CategoricalHMM(n_components=5)
    peer.startprob_, peer.transmat_, peer.emissionprob_ = first, moves, says
    world = hmm.HMM(jnp.asarray(says.T[:, :, None] * moves[None]), jnp.asarray(first))  # a state speaks, then moves
    for n in (1, 7, 500):
        tokens = rng.integers(0, 3, n)
        assert float(base.log_prob(world, jnp.asarray(tokens))) == pytest.approx(peer.score(tokens[:, None]), abs=1e-9)


@pytest.mark.parametrize(
    ("build", "numbers", "message"),
    [
        (hmm.coin, (1.0,), "coin: p must lie strictly between 0 and 1, but is 1.0"),
        (hmm.golden_mean, (-0.1,), "golden_mean: p must lie strictly between 0 and 1, but is -0.1"),
        (hmm.even, (float("nan"),), "even: p must lie strictly between 0 and 1, but is nan"),
        (hmm.z1r, (2,), "z1r: p must lie strictly between 0 and 1, but is 2"),
        (hmm.rrxor, (0.5, 0.0), "rrxor: p2 must lie strictly between 0 and 1, but is 0.0"),
        (hmm.sns, (0.5, 1.5), "sns: q must lie strictly between 0 and 1, but is 1.5"),
        (hmm.mess3, (0.7, 0.6), "mess3: x must lie strictly between 0 and 0.5, but is 0.7"),
        (hmm.random_hmm, (0, 2, 1.0, 0), "random_hmm: states must be at least 1, but is 0"),
        (hmm.random_hmm, (2, 0, 1.0, 0), "random_hmm: vocab must be at least 1, but is 0"),
        (hmm.random_hmm, (2, 2, 0.0, 0), "random_hmm: concentration must be finite and above 0, but is 0.0"),
        (automata.flip_flop, (1.2,), "flip_flop: p_ignore must lie strictly between 0 and 1, but is 1.2"),
        (automata.flip_flop, (0.5, "middle"), "flip_flop: start must be `fresh` or `stationary`, but is 'middle'"),
        (automata.dyck_bounded, (1, 0, 0.5, 0.5), "dyck_bounded: depth must be at least 1, .* but is 0"),
        (automata.dyck_bounded, (0, 1, 0.5, 0.5), "dyck_bounded: kinds must be at least 1, .* but is 0"),
        (automata.dyck_bounded, (1, 1, 1.0, 0.5), "dyck_bounded: p_open must lie strictly between 0 and 1"),
        (automata.dyck_bounded, (1, 1, 0.5, 1.0), "dyck_bounded: p_end must lie strictly between 0 and 1"),
        (automata.dyck_bounded, (8, 5, 0.5, 0.5), "dyck_bounded: the operators may hold at most .* make 37449 stacks"),
        (generalised.tom_quantum, (0.0, 1.0), "tom_quantum: alpha must lie strictly between 0 and inf, but is 0.0"),
        (generalised.fanizza, (1.0, 0.6), "fanizza: lamb must lie strictly between 0 and 0.5.*, but is 0.6"),
        (generalised.post_quantum, (1.0, 1.0), "post_quantum: alpha or beta must differ from 1"),
        (generalised.generalised, (np.full((1, 2, 2), 0.3),), "generalised: .* eigenvalue 1 exactly once"),
    ],
)
def test_bad_numbers_are_refused_with_the_rule(build, numbers, message):
    with pytest.raises(ValueError, match=message):
        build(*numbers)
