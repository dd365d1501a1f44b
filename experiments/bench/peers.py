"""Other exact laws, for `experiments.bench` alone: JAX filters as one writes them, and, where installed, libraries."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from worlds.chart import PCFG
from worlds.grammar_normal_form import parse
from worlds.hmm import HMM

TOKENS = 8  # of the random grammar


def emitting(states: int, vocab: int) -> tuple[HMM, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A random world whose states speak, then move; and its first law, moves and words as other libraries ask them."""
    random = np.random.default_rng(0)
    first, moves, says = (random.dirichlet(np.ones(n), m) for n, m in ((states, 1), (states, states), (vocab, states)))
    return HMM(jnp.asarray(says.T[:, :, None] * moves[None]), jnp.asarray(first[0])), (first[0], moves, says)


def forward(world: HMM, tokens: Int[jax.Array, "time"]) -> Float[jax.Array, "time vocab"]:
    """The forward filter over operators, one sequence, in plain numbers: what a JAX user writes in six lines."""

    def step(belief, token):
        joint = belief @ world.transition[token]
        return joint / joint.sum(), jnp.log(belief @ world.transition.sum(-1).T)

    return jax.lax.scan(step, world.initial, tokens)[1]


def forward_emitting(numbers: Any, tokens: Int[jax.Array, "time"]) -> Float[jax.Array, "time vocab"]:
    """The same where states speak, then move: one matrix for all tokens, as dynamax has it."""
    first, moves, says = numbers

    def step(belief, token):
        seen = belief * says[:, token]
        return seen / seen.sum() @ moves, jnp.log(belief @ says)

    return jax.lax.scan(step, first, tokens)[1]


def hmmlearn(numbers: Any) -> Callable[[Int[np.ndarray, "batch time"]], float]:
    """The total log-probability of sequences by hmmlearn."""
    from hmmlearn.hmm import CategoricalHMM  # pyright: ignore[reportMissingImports]

    peer = CategoricalHMM(n_components=len(numbers[0]))
    peer.startprob_, peer.transmat_, peer.emissionprob_ = numbers
    peer.n_features = numbers[2].shape[1]
    return lambda tokens: peer.score(tokens.reshape(-1, 1), [tokens.shape[1]] * len(tokens))


def random_rules(symbols: int, seed: int = 0) -> str:
    """A tight random grammar, five rules a symbol: two branch, one is right-linear, two are words."""
    random, lines = np.random.default_rng(seed), []
    for i in range(symbols):
        a, b, c, d = random.integers(symbols, size=4)
        x, y, z = random.integers(TOKENS, size=3)
        lines.append(
            f"N{i} -> N{(i + 1) % symbols} N{a} [.15] | N{b} N{c} [.1] | 't{x}' N{d} [.2] "
            f"| 't{y}' 'end' [.275] | 't{z}' [.275]"
        )
    return "\n".join(lines)


def open_documents(world: PCFG, length: int, batch: int) -> Int[np.ndarray, "batch time"]:
    """Tokens that never end the document, each drawn from the law given that: the chart is full."""
    sized = world.sized(length)

    def one(key):
        def step(state, key):
            token = jax.random.categorical(key, sized.log_next(state).at[-1].set(-jnp.inf)).astype(jnp.int32)
            return sized.advance(state, token), token

        return jax.lax.scan(step, sized.start(), jax.random.split(key, length))[1]

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), batch)))


def genlm(text: str, world: PCFG) -> Callable[[Int[np.ndarray, "batch time"]], Float[np.ndarray, "batch time vocab"]]:
    """Log laws by genlm-grammar's faster filter: rescaled Earley, whose chart is kept from prefix to prefix.

    Its closures are iterated, and by default stop after 100,000 updates, converged or not: laws of 50 rules are then
    off by 0.3. Here they run until they have converged. The grammar is prepared once, no chart is kept between calls.
    """
    from genlm.grammar import CFG, Float  # pyright: ignore[reportMissingImports]
    from genlm.grammar.cfglm import EOS, add_EOS  # pyright: ignore[reportMissingImports]
    from genlm.grammar.parse.earley_rescaled import EarleyLM  # pyright: ignore[reportMissingImports]

    class Converged(CFG):
        def agenda(self, tol=1e-12, maxiter=np.inf):
            return super().agenda(tol, maxiter)

    rules = parse(text)
    cfg = Converged(R=Float, S=next(iter(rules)), V=set(world.names))
    for head, rights in rules.items():
        for right, p in rights.items():
            cfg.add(p, head, *(s.removeprefix("'") for s in right))
    model = EarleyLM(add_EOS(cfg))

    def laws(tokens):
        model.clear_cache()
        said = [[model.p_next(tuple(world.names[v] for v in row[:t])) for t in range(len(row))] for row in tokens]
        with np.errstate(divide="ignore"):
            return np.log([[[law[name] for name in (*world.names, EOS)] for law in row] for row in said])

    return laws
