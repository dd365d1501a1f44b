"""The smallest training: a network that compiles in no time, and a world of two tokens."""

import jax
import jax.numpy as jnp
from flax import nnx

from experiments import streams
from experiments.alchemy import Shape
from worlds import hmm


class Bigram(nnx.Module):
    """What it says depends on the last token: a matrix and a vector, since optimisers treat them differently."""

    def __init__(self, vocab: int, rngs: nnx.Rngs):
        self.table = nnx.Embed(vocab + 1, vocab, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(vocab, jnp.float32))

    def __call__(self, tokens):
        past = jnp.concatenate([jnp.full(1, self.table.features), tokens[:-1]])
        return jax.nn.log_softmax(self.table(past) + self.bias[...][None])


def spec(rngs):
    return Bigram(2, rngs)


SPEC = spec
SHAPE = Shape(batch=4, length=6, chunk=3)
WORLD = hmm.golden_mean(0.5)


def keys(seed, count=2):
    return (streams.members(streams.stream(seed, name), 0, count) for name in ("initialise", "train"))
