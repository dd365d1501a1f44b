"""A causal network as a residual stream of named components; with `attention` as mixer it is the transformer.

Inputs are a start symbol and the tokens but the last, so that row t knows the tokens before t, and the first token is
predicted too. Pre-norm: stream += mixer(norm(stream)); stream += feed_forward(norm(stream)). Everything is float32,
under `jax_enable_x64` too, unless `precision` says otherwise. Recurrent networks, convolutions and ablations are the
same stream with other components (models/components.py), so that each is an override of one name.
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from models import components, constructed
from models.base import Drop
from models.components import FEED_FORWARDS, MIXERS, NORMS, READOUTS
from models.position.base import Position, Scheme, Size, one_of, small
from models.precision import float_type
from models.products import lookup

EMBEDDINGS = ("learned", "onehot")
LOWEST = {"vocab": 1, "length": 1, "layers": 0, "heads": 1, "width": 1, "taps": 1, "convolution": 0}


@dataclasses.dataclass(frozen=True)
class Transformer:
    """Spec of a network: shapes and names only, hence hashable. Calling it with random numbers builds the module.

    Attributes:
      vocab: tokens of the world.
      length: tokens per sequence in training; the network itself runs at any length its scheme is defined at.
      scheme: how positions enter: attention takes all of it, linear attention its rotation, others its embedding only.
      layers: residual blocks; 0 leaves the read-out of the present token's embedding.
      heads: heads per layer of attention mixers; divides `width`.
      width: features of the residual stream.
      feed_forward: "mlp" (two layers, GELU between, 4 x width), "gated" (SwiGLU) or "none".
      norm: "rms", "layer" or "none", before each component and before the read-out.
      mixer: what reads the past: "attention", "retention", "gated_linear", "gru", "lstm", "convolution", "mlp" (a
        two-layer MLP over the last `taps` inputs) or "none".
      readout: "softmax", "normed" (a norm between logits and softmax, where it does not belong), "rounded" (logits in
        four bits), or "probability" (a mixture of as many rows as the stream has features).
      embedding: "learned", or "onehot" (fixed; needs width > vocab).
      taps: inputs that "convolution" and "mlp" see.
      temperature: divides the content logits of attention; a number above 0, or "scalable" (see `Attention`).
      convolution: rows of a short convolution before each mixer; 0 for none.
      precision: float type of the products, "float32", "bfloat16" (numbers kept in float32) or "float64".
    """

    vocab: int
    length: int
    scheme: Scheme
    layers: int = 2
    heads: int = 4
    width: int = 64
    feed_forward: str = "mlp"
    norm: str = "rms"
    mixer: str = "attention"
    readout: str = "softmax"
    embedding: str = "learned"
    taps: int = 4
    temperature: float | str = 1.0
    convolution: int = 0
    precision: str = "float32"

    def __post_init__(self):
        for field, least in LOWEST.items():
            if getattr(self, field) < least:
                raise ValueError(f"transformer: {field} must be at least {least}, but is {getattr(self, field)}")
        if self.width % self.heads:
            raise ValueError(f"transformer: heads must divide width, but width is {self.width} and heads {self.heads}")
        choices = dict(feed_forward=FEED_FORWARDS, norm=NORMS, mixer=MIXERS, readout=READOUTS, embedding=EMBEDDINGS)
        for field, known in choices.items():
            one_of("transformer", field, getattr(self, field), known)
        if self.embedding == "onehot" and self.width <= self.vocab:
            raise ValueError(f"transformer: onehot needs width above vocab, {self.vocab}, but it is {self.width}")
        hot = self.temperature
        if not (hot == "scalable" or (isinstance(hot, int | float) and 0 < hot < math.inf)):
            raise ValueError(f"transformer: temperature must be a number above 0 or scalable, but is {hot!r}")
        float_type("transformer", self.precision)
        nnx.eval_shape(lambda: self.scheme(self.size, nnx.Rngs(0)))  # a scheme that does not fit says so now

    @property
    def size(self) -> Size:
        """What the scheme must fit."""
        return Size(self.layers, self.heads, self.width, self.length)

    @property
    def dtype(self) -> Any:
        """The float type of the products."""
        return float_type("transformer", self.precision)

    def enlightened(self, world: Any, length: int) -> Any:
        """Weights constructed from the world's law, where this architecture has room for them; else None."""
        return constructed.network(self, world, length)

    def __call__(self, rngs: nnx.Rngs) -> "Decoder":
        """Builds the module: tokens [time] -> log probabilities [time, vocab]."""
        return Decoder(self, rngs)


def _whole(component: int, x: Array) -> Array:
    """Drops nothing."""
    del component
    return x


class Decoder(nnx.Module):
    """The module of `Transformer`."""

    def __init__(self, spec: Transformer, rngs: nnx.Rngs):
        self.spec = spec
        linear = components.linears(spec, rngs)
        first = spec.scheme(spec.size, rngs)
        self.clock, self.embedding = Position(clock=first.clock), first.embedding
        rest = [first if spec.scheme.shared else spec.scheme(spec.size, rngs) for _ in range(spec.layers - 1)]
        table = small(rngs, spec.vocab + 1, spec.width, components.stored(spec.dtype))
        self.tokens = nnx.Param(table) if spec.embedding == "learned" else None
        self.blocks = nnx.List([_Block(spec, position, linear, rngs) for position in [first, *rest][: spec.layers]])
        self.norm = components.norm(spec, rngs)
        self.readout = READOUTS[spec.readout](spec, linear, rngs)

    def __call__(self, tokens: Int[Array, "time"], drop: Drop = _whole) -> Float[Array, "time vocab"]:
        """Log probabilities of each token from those before it."""
        return self.readout(self.norm(self.residual(tokens, drop)))

    def residual(self, tokens: Int[Array, "time"], drop: Drop = _whole) -> Float[Array, "time width"]:
        """The stream after the last block, before its norm and the read-out: all that is known of tokens before t.

        In training, `drop` acts on all that enters the stream, embeddings too (Vaswani et al. 2017, 5.4).
        """
        spec = self.spec
        limit = spec.scheme.limit(spec.length)
        if limit is not None and len(tokens) > limit:
            raise ValueError(f"{spec.scheme}: defined up to {limit} tokens, but got a sequence of {len(tokens)}")
        inputs = jnp.concatenate([jnp.full(1, spec.vocab, tokens.dtype), tokens[:-1]])
        where = self.clock.positions(inputs, components.stored(spec.dtype))
        stream = self._embedded(inputs)
        if self.embedding is not None:
            stream = stream + self.embedding(where).astype(spec.dtype)
        stream = drop(0, stream)
        for n, block in enumerate(self.blocks):
            stream = block(stream, where, lambda i, x, n=n: drop(1 + 2 * n + i, x))
        return stream

    def _embedded(self, inputs: Int[Array, "time"]) -> Float[Array, "time width"]:
        """Unit variance: tables are stored small and scaled by sqrt(width) (Vaswani et al. 2017, 3.4)."""
        spec = self.spec
        eye = jnp.eye(spec.vocab + 1, spec.width, dtype=spec.dtype)
        return lookup(inputs, eye if self.tokens is None else self.tokens[...].astype(spec.dtype)) * spec.width**0.5


class _Block(nnx.Module):
    def __init__(self, spec: Transformer, position: Position, linear: components.Linear, rngs: nnx.Rngs):
        short = spec.convolution > 0
        self.short = components.ShortConvolution(spec.convolution, spec.width, spec.dtype) if short else None
        named = MIXERS[spec.mixer](spec, position, linear, rngs), FEED_FORWARDS[spec.feed_forward](spec, linear)
        self.parts = nnx.List([_Part(components.norm(spec, rngs), part) for part in named if part is not None])

    def __call__(
        self, stream: Float[Array, "time width"], where: Float[Array, "time"], drop: Drop
    ) -> Float[Array, "time width"]:
        stream = stream if self.short is None else self.short(stream)
        for n, part in enumerate(self.parts):
            stream = stream + drop(n, part.component(part.norm(stream), where))
        return stream


class _Part(nnx.Module):
    def __init__(self, norm: Any, component: Any):
        self.norm, self.component = norm, component
