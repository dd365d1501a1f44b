"""A causal network as a residual stream of named components; with `attention` as mixer it is the transformer.

Inputs are a start symbol and the tokens but the last, so that row t knows the tokens before t, and the first token is
predicted too. Pre-norm: stream += mixer(norm(stream)); stream += feed_forward(norm(stream)). Everything is float32,
under `jax_enable_x64` too, unless `precision` says otherwise.
"""

import dataclasses
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from models.attention import Attention
from models.position.base import Position, Scheme, Size, one_of, small
from models.products import dot_general, lookup

FEED_FORWARDS = ("mlp", "none")
NORMS = {"rms": nnx.RMSNorm, "layer": nnx.LayerNorm, "none": None}


@dataclasses.dataclass(frozen=True)
class Transformer:
    """Spec of a decoder: shapes and names only, hence hashable. Calling it with random numbers builds the module.

    Attributes:
      vocab: tokens of the world.
      length: tokens per sequence in training; the network itself runs at any length its scheme is defined at.
      scheme: how positions enter.
      layers: residual blocks; 0 leaves the read-out of the present token's embedding.
      heads: attention heads per layer; divides `width`.
      width: features of the residual stream.
      feed_forward: "mlp" (two layers, GELU between, 4 x width) or "none".
      norm: "rms", "layer" or "none", before each component and before the read-out.
    """

    vocab: int
    length: int
    scheme: Scheme
    layers: int = 2
    heads: int = 4
    width: int = 64
    feed_forward: str = "mlp"
    norm: str = "rms"

    def __post_init__(self):
        lowest = {"vocab": 1, "length": 1, "layers": 0, "heads": 1, "width": 1}
        for field, least in lowest.items():
            if getattr(self, field) < least:
                raise ValueError(f"transformer: {field} must be at least {least}, but is {getattr(self, field)}")
        if self.width % self.heads:
            raise ValueError(f"transformer: heads must divide width, but width is {self.width} and heads {self.heads}")
        one_of("transformer", "feed_forward", self.feed_forward, FEED_FORWARDS)
        one_of("transformer", "norm", self.norm, NORMS)
        jax.eval_shape(lambda: nnx.state(self.scheme(self.size, nnx.Rngs(0))))  # a scheme that does not fit says so now

    @property
    def size(self) -> Size:
        """What the scheme must fit."""
        return Size(self.layers, self.heads, self.width, self.length)

    def __call__(self, rngs: nnx.Rngs) -> nnx.Module:
        """Builds the module: tokens [time] -> log probabilities [time, vocab]."""
        return _Decoder(self, rngs)


class _Decoder(nnx.Module):
    def __init__(self, spec: Transformer, rngs: nnx.Rngs):
        self.spec = spec
        linear = partial(_linear, rngs=rngs, depth=spec.layers)
        first = spec.scheme(spec.size, rngs)
        rest = [first if spec.scheme.shared else spec.scheme(spec.size, rngs) for _ in range(spec.layers - 1)]
        self.position = first
        self.tokens = nnx.Param(small(rngs, spec.vocab + 1, spec.width))
        self.blocks = nnx.List([_Block(spec, position, linear, rngs) for position in [first, *rest][: spec.layers]])
        self.norm = _norm(spec, rngs)
        self.readout = linear(spec.width, spec.vocab)

    def __call__(self, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
        spec = self.spec
        limit = spec.scheme.limit(spec.length)
        if limit is not None and len(tokens) > limit:
            raise ValueError(f"{spec.scheme}: defined up to {limit} tokens, but got a sequence of {len(tokens)}")
        inputs = jnp.concatenate([jnp.full(1, spec.vocab, tokens.dtype), tokens[:-1]])
        where = self.position.positions(inputs)
        stream = lookup(inputs, self.tokens[...]) * math.sqrt(spec.width)  # unit variance (Vaswani et al. 2017, 3.4)
        if self.position.embedding is not None:
            stream = stream + self.position.embedding(where)
        for block in self.blocks:
            stream = block(stream, where)
        return jax.nn.log_softmax(self.readout(self.norm(stream)))


class _Block(nnx.Module):
    def __init__(self, spec: Transformer, position: Position, linear: Any, rngs: nnx.Rngs):
        self.norm = _norm(spec, rngs)
        self.mixer = Attention(spec.heads, spec.width, position, linear)
        self.feed = _MLP(spec.width, linear, _norm(spec, rngs)) if spec.feed_forward != "none" else None

    def __call__(self, stream: Float[Array, "time width"], where: Float[Array, "time"]) -> Float[Array, "time width"]:
        stream = stream + self.mixer(self.norm(stream), where)
        return stream if self.feed is None else stream + self.feed(stream)


class _MLP(nnx.Module):
    def __init__(self, width: int, linear: Any, norm: Any):
        self.norm = norm
        self.inward = linear(width, 4 * width)
        self.outward = linear(4 * width, width, residual=True)

    def __call__(self, x: Float[Array, "time width"]) -> Float[Array, "time width"]:
        return self.outward(jax.nn.gelu(self.inward(self.norm(x))))


def _linear(read: int, write: int, rngs: nnx.Rngs, depth: int, residual: bool = False) -> nnx.Linear:
    """Maps that write to the stream start smaller the deeper the network (Radford et al. 2019)."""
    scale = 1 / (2 * depth) if residual else 1.0
    init = nnx.initializers.variance_scaling(scale, "fan_in", "uniform")  # cheap to compile
    return nnx.Linear(
        read, write, kernel_init=init, dot_general=dot_general, dtype=jnp.float32, param_dtype=jnp.float32, rngs=rngs
    )


def _norm(spec: Transformer, rngs: nnx.Rngs) -> Any:
    norm = NORMS[spec.norm]
    if norm is None:
        return _same
    return norm(spec.width, dtype=jnp.float32, param_dtype=jnp.float32, rngs=rngs)


def _same(x: Array) -> Array:
    return x
