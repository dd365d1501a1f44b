"""Other people's exact laws, for `experiments.bench` alone: hmmlearn and genlm-grammar, where they are installed."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from worlds.chart import PCFG
from worlds.grammar_normal_form import parse
from worlds.hmm import HMM

TOKENS = 8  # of the random grammar


def hmmlearn(states: int, vocab: int) -> tuple[HMM, Callable[[Int[np.ndarray, "batch time"]], float]]:
    """A random world whose states speak, then move, and its total log-probability by hmmlearn."""
    from hmmlearn.hmm import CategoricalHMM  # pyright: ignore[reportMissingImports]

    random = np.random.default_rng(0)
    first, moves, says = (random.dirichlet(np.ones(n), m) for n, m in ((states, 1), (states, states), (vocab, states)))
    peer = CategoricalHMM(n_components=states)
    peer.startprob_, peer.transmat_, peer.emissionprob_, peer.n_features = first[0], moves, says, vocab
    world = HMM(jnp.asarray(says.T[:, :, None] * moves[None]), jnp.asarray(first[0]))
    return world, lambda tokens: peer.score(tokens.reshape(-1, 1), [tokens.shape[1]] * len(tokens))


def random_rules(symbols: int, seed: int = 0) -> str:
    """A tight random grammar, five rules a symbol: two branch, one is right-linear, two are words."""
    random, lines = np.random.default_rng(seed), []
    for i in range(symbols):
        a, b, c, d = random.integers(symbols, size=4)
        x, y, z = random.integers(TOKENS, size=3)
        lines.append(
            f"N{i} -> N{(i + 1) % symbols} N{a} [.228] | N{b} N{c} [.152] | 't{x}' N{d} [.2] "
            f"| 't{y}' 'end' [.21] | 't{z}' [.21]"
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


def genlm(text: str, world: PCFG, tokens: Int[np.ndarray, "batch time"]) -> Float[np.ndarray, "batch time vocab"]:
    """Log laws by genlm-grammar's faster filter: rescaled Earley, whose chart is kept from prefix to prefix."""
    from genlm.grammar import CFG, Float  # pyright: ignore[reportMissingImports]
    from genlm.grammar.cfglm import EOS, add_EOS  # pyright: ignore[reportMissingImports]
    from genlm.grammar.parse.earley_rescaled import EarleyLM  # pyright: ignore[reportMissingImports]

    rules = parse(text)
    cfg = CFG(R=Float, S=next(iter(rules)), V=set(world.names))
    for head, rights in rules.items():
        for right, p in rights.items():
            cfg.add(p, head, *(s.removeprefix("'") for s in right))
    model = EarleyLM(add_EOS(cfg))
    laws = np.zeros((*tokens.shape, world.vocab_size))
    for n, row in enumerate(tokens):
        words = tuple(world.names[v] for v in row)
        for t in range(len(words)):
            said = model.p_next(words[:t])
            laws[n, t] = [said[name] for name in (*world.names, EOS)]
    with np.errstate(divide="ignore"):
        return np.log(laws)
