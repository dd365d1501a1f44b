"""Tokens per second of a grammar's exact laws: python -m tests.benchmarks.grammar [symbols] [length] [batch].

A random tight grammar of 5 rules a symbol over 8 tokens; one open document per sequence, so that the chart is full.
Beside it the faster filter of genlm-grammar, if that is installed. Read the ratio: both run on the same busy machine.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from worlds import base, grammar
from worlds.grammar_normal_form import parse


def random_rules(symbols: int, seed: int = 0) -> str:
    """Two branching rules, one right-linear and two words a symbol; 0.96 symbols are expected of one rewriting."""
    random, lines = np.random.default_rng(seed), []
    for i in range(symbols):
        a, b, c, d = random.integers(symbols, size=4)
        x, y, z = random.integers(8, size=3)
        lines.append(
            f"N{i} -> N{(i + 1) % symbols} N{a} [.228] | N{b} N{c} [.152] | 't{x}' N{d} [.2] | 't{y}' 'end' [.21] "
            f"| 't{z}' [.21]"
        )
    return "\n".join(lines)


def open_documents(world, length: int, batch: int):
    """Tokens that never end the document, each drawn from the law given that."""

    def one(key):
        def step(state, key):
            token = jax.random.categorical(key, sized.log_next(state).at[-1].set(-jnp.inf)).astype(jnp.int32)
            return sized.advance(state, token), token

        sized = world.sized(length)
        return jax.lax.scan(step, sized.start(), jax.random.split(key, length))[1]

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), batch))


def ours(world, tokens, mapped) -> float:
    """Tokens per second, the fastest call after the first."""
    score = jax.jit(lambda world, tokens: mapped(lambda row: base.log_conditionals(world, row), tokens))
    return tokens.size / best(lambda: score(world, tokens).block_until_ready(), 8)


def best(call, times: int) -> float:
    """Seconds of the fastest call: what else the machine does only adds to them."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def peer(text: str, names: tuple[str, ...], tokens) -> float:
    """The same of genlm-grammar (rescaled Earley, chart kept from prefix to prefix), on four sequences."""
    from genlm.grammar import CFG, Float
    from genlm.grammar.cfglm import add_EOS
    from genlm.grammar.parse.earley_rescaled import EarleyLM

    rules = parse(text)
    cfg = CFG(R=Float, S=next(iter(rules)), V=set(names))
    for head, rights in rules.items():
        for right, p in rights.items():
            cfg.add(p, head, *(s.removeprefix("'") for s in right))
    model = EarleyLM(add_EOS(cfg))

    def read(row):
        model.clear_cache()
        words = [names[v] for v in row]
        for t in range(len(words)):
            model.p_next(tuple(words[:t]))

    return tokens.shape[1] / min(best(lambda row=row: read(row), 1) for row in tokens[:4])


if __name__ == "__main__":
    symbols, length, batch = (int(x) for x in (sys.argv[1:] + ["10", "32", "64"][len(sys.argv) - 1 :]))
    jax.config.update("jax_enable_x64", True)
    text = random_rules(symbols)
    world = grammar.pcfg(text)
    tokens = open_documents(world, length, batch)
    print(f"{5 * symbols} rules, {len(world.left)} pairs, {length} tokens, batch {batch}: tokens per second")
    print(f"  vmap    {ours(world, tokens, lambda f, x: jax.vmap(f)(x)):12.0f}")
    print(f"  lax.map {ours(world, tokens, jax.lax.map):12.0f}")
    print(f"  16 at once {ours(world, tokens, lambda f, x: jax.lax.map(f, x, batch_size=16)):9.0f}")
    try:
        print(f"  genlm   {peer(text, world.names, np.asarray(tokens)):12.1f}")
    except ImportError:
        print("  genlm-grammar is not installed")
