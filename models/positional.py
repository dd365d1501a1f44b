"""Position-only attention with a probability read-out: the predictors that a concept with mixture read-out allows.

Head h reads the start symbol and the tokens before t with weights softmax(b(g) + start_h [start symbol]), b from the
position scheme; each symbol read says a row of probabilities, and heads are mixed:

    q_t(y) = sum_h w_h sum_s alpha_h[t, s] K_h[symbol at s, y].

No content is compared, so the reads are the scheme's alone (exactness: Q_A with at most H profiles). The start logit
is part of the architecture: without it no head can hold a world that begins.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from models import enlightened
from models.position.base import Look, Scheme, Size, one_of
from models.precision import float_type


@dataclasses.dataclass(frozen=True)
class Positional:
    """Spec of a layer of positional heads. Calling it with random numbers builds the module.

    Attributes:
      vocab: tokens of the world.
      length: tokens per sequence in training; the network runs at any length its scheme is defined at.
      scheme: one with a bias, or with nothing (NoPE); rotations and embeddings have no content to act on here.
      heads: number of profiles H.
      precision: "float32" or "float64" (which needs `jax_enable_x64`).
      start: of the start symbol's logits: "learned", or "none" (read only where there is nothing else).
    """

    vocab: int
    length: int
    scheme: Scheme
    heads: int = 1
    precision: str = "float32"
    start: str = "learned"

    def __post_init__(self):
        one_of("positional", "start", self.start, ("learned", "none"))
        for field in ("vocab", "length", "heads"):
            if getattr(self, field) < 1:
                raise ValueError(f"positional: {field} must be at least 1, but is {getattr(self, field)}")
        float_type("positional", self.precision, ("float32", "float64"))
        position = nnx.eval_shape(lambda: self.scheme(self.size, nnx.Rngs(0)))
        if position.rotation is not None or position.embedding is not None:
            raise ValueError(
                "positional: attention without content needs a scheme that is a bias or nothing (NoPE), "
                f"but got {self.scheme}, which turns or adds to content"
            )

    @property
    def size(self) -> Size:
        """What the scheme must fit; heads have no content, so their width, the least that a rotation has, is empty."""
        return Size(1, self.heads, 2 * self.heads, self.length)

    def enlightened(self, world: Any, length: int) -> Any:
        """Weights that hold the world exactly up to a length, if this architecture has them; they set start logits."""
        return None if self.start == "none" else enlightened.positional(self, world, length)

    def __call__(self, rngs: nnx.Rngs) -> "PositionalHeads":
        """Builds the module: tokens [time] -> log probabilities [time, vocab]."""
        return PositionalHeads(self, rngs)


class PositionalHeads(nnx.Module):
    """The module of `Positional`; logits may be -inf, which says exactly never."""

    def __init__(self, spec: Positional, rngs: nnx.Rngs):
        self.spec = spec
        self.dtype = float_type("positional", spec.precision)
        self.position = spec.scheme(spec.size, rngs)
        self.start = nnx.Param(jnp.zeros(spec.heads, self.dtype))
        shape = (spec.heads, spec.vocab + 1, spec.vocab)
        self.values = nnx.Param(rngs.params.uniform(shape, self.dtype, -0.1, 0.1))  # logits; last row: start symbol
        self.weights = nnx.Param(jnp.zeros(spec.heads, self.dtype))  # logits

    def __call__(self, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
        """Log probabilities of each token from those before it; exactly -inf where no head allows it."""
        limit = self.spec.scheme.limit(self.spec.length)
        if limit is not None and len(tokens) > limit:
            raise ValueError(f"{self.spec.scheme}: defined up to {limit} tokens, but got a sequence of {len(tokens)}")
        inputs = jnp.concatenate([jnp.full(1, self.spec.vocab, tokens.dtype), tokens[:-1]])
        symbols = jax.nn.one_hot(inputs, self.spec.vocab + 1, dtype=self.dtype)
        reads = jnp.einsum("hts,sa->hta", self.profiles(inputs), symbols)
        says = jax.nn.softmax(self.weights[...])[:, None, None] * jax.nn.softmax(self.values[...])
        return jnp.log(jnp.einsum("hta,hay->ty", reads, says))

    def profiles(self, inputs: Int[Array, "time"]) -> Float[Array, "head time time"]:
        """Attention alpha_h[t, s] over the inputs, of which 0 is the start symbol."""
        time = len(inputs)
        scores = self.biases(inputs)
        # Row 0 has nothing but the start symbol to read, whatever its logit, -inf included.
        logits = self.start[...] if self.spec.start == "learned" else jnp.full(self.spec.heads, -jnp.inf, self.dtype)
        scores = scores.at[:, 1:, 0].add(logits[:, None])
        return jax.nn.softmax(jnp.where(jnp.tri(time, dtype=bool)[None], scores, -jnp.inf))

    def biases(self, inputs: Int[Array, "time"]) -> Float[Array, "head time time"]:
        """The scheme's b_h(i, j), without start logits."""
        time, heads = len(inputs), self.spec.heads
        if self.position.bias is None:
            return jnp.zeros((heads, time, time), self.dtype)
        nothing = jnp.zeros((time, heads, 2), self.dtype)
        where = self.position.positions(inputs, self.dtype)
        return self.position.bias(Look(nothing.reshape(time, -1), nothing, nothing, where)).astype(self.dtype)
