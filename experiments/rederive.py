"""Numbers of reference, derived again through the public functions and, where that is possible, in a second way.

Each derivation takes the arguments of one entry of references.yaml and returns the value of every way, by name; where a
way claims an interval, its half-width stands beside the value. Words of a finite-state world are scored a second time
by plain products of its operators in NumPy, those of the others by the filter of `log_next` and `advance`.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from models.base import pure
from models.perception import Concept
from models.perception.contexts import enumerated
from models.perception.profiles import ALL_LAGS, Geometric, Windows
from models.perception.projection import project
from models.position import ALiBi, slopes
from models.positional import Positional
from worlds import base, decay, kernel, latent, steady
from worlds.base import World
from worlds.hmm import HMM
from worlds.quantity import Quantity


class Found(NamedTuple):
    """One way's answer."""

    value: Float[np.ndarray, "*shape"]
    slack: float = 0.0  # half the width of the interval that it claims


DICTIONARIES: dict[str, Any] = {  # beside each, a unigram head
    "order_free": (Geometric((0.0,), (0.0,)),),
    "decay": (Geometric((0.0625, 0.25, 0.5, 1.0), (0.0,)),),
    "monotone": (Windows(),),
    "offset": (ALL_LAGS,),
}


def entropy_rate(world: World) -> dict[str, Found]:
    """The world's own statement."""
    if not isinstance(world, base.HasEntropyRate):
        raise ValueError(f"entropy_rate: the world must know it, but {type(world).__name__} does not")
    return {"entropy_rate": _stated(world.entropy_rate())}


def floors(world: World, expected: list[float]) -> dict[str, Found]:
    """h_1 ... h_T, and the differences of the entropies of all words of t tokens."""
    length = len(expected)
    blocks = np.array([0.0] + [-_xlogx(word_probabilities(world, words(world, t))) for t in range(1, length + 1)])
    stated = [h.value for h in base.floors(world, length)]
    return {"floors": Found(np.array(stated)), "all words": Found(np.diff(blocks))}


def floor(world: World, length: int) -> dict[str, Found]:
    """The mean of h_1 ... h_T, and the entropy of all words over T."""
    both = floors(world, [0.0] * length)
    return {name: Found(found.value.mean()) for name, found in both.items()}


def latent_floors(world: World, expected: list[float]) -> dict[str, Found]:
    """The floors of a predictor that is told what the world hides."""
    return {"latent_floors": Found(np.array([h.value for h in latent.latent_floors(world, len(expected))]))}


def probability(world: World, tokens: list[int]) -> dict[str, Found]:
    """P(tokens) in the fastest form, and again."""
    word = np.array([tokens], np.int32)
    stated = np.exp(np.asarray(jax.jit(base.log_prob)(world, jnp.asarray(word[0]))))
    return {"log_prob": Found(stated), "again": Found(word_probabilities(world, word)[0])}


def impossible(world: World, tokens: list[int]) -> dict[str, Found]:
    """P(tokens), to be exactly zero; no second way, as plain products of signed operators cancel to rounding only."""
    return {"log_prob": probability(world, tokens)["log_prob"]}


def next_law(world: World, tokens: list[int], expected: list[float]) -> dict[str, Found]:
    """The law of the next token, and the ratios of the probabilities of words."""
    word = jnp.asarray([*tokens, 0], jnp.int32)  # a last token, never read: its law is what is asked
    stated = np.exp(np.asarray(jax.jit(base.log_conditionals)(world, word)[-1]))
    longer = np.array([[*tokens, v] for v in range(len(expected))], np.int32)
    joint = word_probabilities(world, longer)
    return {"log_conditionals": Found(stated), "again": Found(joint / joint.sum())}


def words(world: World, length: int) -> Int[np.ndarray, "word time"]:
    """All words of a length."""
    return np.array(list(itertools.product(range(world.vocab_size), repeat=length)), np.int32)


def word_probabilities(world: World, tokens: Int[np.ndarray, "word time"]) -> Float[np.ndarray, "word"]:
    """P of each word: initial T[x_1] ... T[x_T] 1, or the filter."""
    if isinstance(world, HMM):
        operators, belief = np.asarray(world.transition), np.asarray(world.initial)[None, :]
        for column in tokens.T:
            belief = np.einsum("ns,nst->nt", np.broadcast_to(belief, (len(tokens), belief.shape[1])), operators[column])
        return belief.sum(1)
    logs = np.asarray(_filtered(world, jnp.asarray(tokens)))
    return np.exp(np.take_along_axis(logs, tokens[:, :, None], -1).sum((1, 2)))


@jax.jit
def _filtered(world, tokens):
    return jax.lax.map(lambda word: base.filtered(world, word), tokens, batch_size=256)


def steady_excess(weights: list[float], rows: list[list[float]], dictionary: str) -> dict[str, Found]:
    """What a dictionary of reads loses on a stationary world of finite lags: the solver, and its predictor measured."""
    world = decay.decay(len(rows), kernel.table(weights), rows)
    contexts = enumerated(world, steady.steady(world, len(weights)))
    found = project(contexts, DICTIONARIES[dictionary])
    return {"project": Found(np.array(found.excess), found.certificate)}


def excess(world: World, length: int, concept: Concept) -> dict[str, Found]:
    """What a concept loses from a fresh start, and what its predictor loses over all words."""
    perceived = concept.perceive(world, length, length, jax.random.key(0), 2)
    if perceived.predictor is None:
        raise ValueError(f"excess: {concept} must say something here, but is undefined: {perceived.info}")
    tokens = words(world, length)
    truth, said = (
        np.asarray(jax.lax.map(f, jnp.asarray(tokens), batch_size=256), np.float64)
        for f in (lambda x: base.filtered(world, x), perceived.predictor)
    )
    loss = np.where(truth > -np.inf, np.exp(truth) * (truth - said), 0).sum(-1).mean(1)
    again = Found(word_probabilities(world, tokens) @ loss)
    return {"perceive": _stated(perceived.excess), "all words": again}


def head_start(world: World, slope: float) -> dict[str, Found]:
    """The start logit of the one head that holds the world."""
    return {"enlightened": Found(np.asarray(_head(world, slope)[1].start[...][0], np.float64))}


def head_error(world: World, slope: float) -> dict[str, Found]:
    """The largest difference of probabilities between that head and the world, over all words of five tokens."""
    spec, params = _head(world, slope)
    tokens = jnp.asarray(words(world, 5))
    said = jnp.exp(jax.vmap(pure(spec).apply, (None, 0))(params, tokens))
    return {"enlightened": Found(np.asarray(jnp.abs(said - jnp.exp(_filtered(world, tokens))).max()))}


def _head(world: World, slope: float) -> tuple[Positional, Any]:
    spec = Positional(world.vocab_size, 6, ALiBi([slope]), 1, "float64")
    params = spec.enlightened(world, 6)
    if params is None:
        raise ValueError(f"head: one head of slope {slope} must hold the world, but cannot")
    return spec, params


def alibi_slopes(heads: int) -> dict[str, Found]:
    """The slopes, and those that ALiBi's scheme uses."""
    return {"slopes": Found(np.array(slopes(heads))), "scheme": Found(np.array(ALiBi().numbers(heads, 32)))}


def _stated(quantity: Quantity) -> Found:
    if quantity.kind == "undefined":
        raise ValueError("a number was expected, but it is undefined here")
    return Found(np.array(quantity.value), max(quantity.high - quantity.value, quantity.value - quantity.low))


def _xlogx(p: Float[np.ndarray, "word"]) -> float:
    return float((p * np.log(np.where(p > 0, p, 1))).sum())


QUANTITIES: dict[str, Callable[..., dict[str, Found]]] = {
    "entropy_rate": entropy_rate,
    "floors": floors,
    "floor": floor,
    "latent_floors": latent_floors,
    "probability": probability,
    "impossible": impossible,
    "next": next_law,
    "steady_excess": steady_excess,
    "excess": excess,
    "head_start": head_start,
    "head_error": head_error,
    "slopes": alibi_slopes,
}
