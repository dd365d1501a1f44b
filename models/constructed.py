"""Weights of the residual-stream network, constructed from a world's law (see `enlightened`).

One layer reads, the read-out speaks: the stream holds the token as a one-hot vector in its first vocab + 1 features, a
constant in the next where there is a norm, and the logits that the mixer writes in the vocab after that. A final norm
would be a temperature; beside a constant C it is one only by a relative |logits|^2 / 2 C^2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from models.enlightened import GAP, Adjustable, assigned, built
from models.position.base import Look
from worlds.base import World, prefixes
from worlds.decay import Decay
from worlds.kernel import profile

NORM_EPS = 1e-6  # of nnx.RMSNorm
NEVER = -1e4  # a start logit of -inf: e^-10,000 is exactly 0
CONSTANT = 1e3  # C in units of the largest logit: the temperature is off by less than float32's own rounding


def network(spec: Any, world: Any, length: int) -> Any:
    """Constructed weights of a `Transformer`, or None where it has no room or the world asks for another network.

    attention: a log-linear decaying world is itself one layer of it (a teacher); mlp: the law given the last `taps`
    tokens by look-up, exact where the world is Markov of that order.
    """
    if not _has_room(spec):
        return None
    if spec.mixer == "attention" and isinstance(world, Decay) and world.readout == "loglinear":
        return _teacher(spec, world, length)
    return _lookup(built(spec), world) if spec.mixer == "mlp" else None


def _has_room(spec: Any) -> bool:
    fits = spec.layers >= 1 and spec.width >= 2 * spec.vocab + 2 and spec.readout == "softmax"
    kept = spec.norm == "none" or (spec.norm == "rms" and spec.embedding == "learned")
    return fits and kept and _position(spec).embedding is None and spec.convolution == 0


def _position(spec: Any) -> Any:
    return nnx.eval_shape(lambda: spec.scheme(spec.size, nnx.Rngs(0)))


class _Stream(NamedTuple):
    """Where things stand in the stream, and how large they are after a norm."""

    token: float  # the feature of the symbol read, after the mixer's norm
    logit: float  # what a logit written to the stream is multiplied with before the read-out
    first: int  # feature of the first logit


def _prepared(module: Any, largest: float) -> _Stream:
    """Silences everything, sets embedding and read-out, and says what the mixer will see."""
    spec = module.spec
    vocab, width = spec.vocab, spec.width
    size = width**0.5  # embeddings are scaled by it
    constant = CONSTANT * max(largest, size) if spec.norm == "rms" else 0.0
    if module.tokens is not None:
        table = np.eye(vocab + 1, width)
        table[:, vocab + 1] = constant / size
        module.tokens[...] = jnp.asarray(table, module.tokens[...].dtype)
    factor = ((size**2 + constant**2) / width + NORM_EPS) ** -0.5 if spec.norm == "rms" else 1.0
    for block in module.blocks:
        for part in block.parts:
            _set(part.component.outward, np.zeros(part.component.outward.kernel.shape))
    readout = np.zeros((width, vocab))
    readout[vocab + 2 : 2 * vocab + 2] = np.eye(vocab) / factor
    _set(module.readout.logits, readout)
    return _Stream(factor * size, factor, vocab + 2)


def _set(layer: nnx.Linear, kernel: Float[np.ndarray, "read write"], bias: Any = 0.0) -> None:
    layer.kernel[...] = jnp.asarray(kernel, layer.kernel[...].dtype)
    layer.bias[...] = jnp.broadcast_to(jnp.asarray(bias, layer.kernel[...].dtype), layer.bias[...].shape)  # type: ignore


def _teacher(spec: Any, world: Decay, length: int) -> Any:
    """softmax(sum_h w_h sum_g phi_h,g W_h[x_{t-g}]): heads attend as phi, say w_h W_h, and the read-out adds them.

    Queries are constant, so that q.k is the start symbol's logit for the start symbol and 0 for all else.
    """
    per_head = spec.width // spec.heads
    plain = spec.temperature == 1.0 and _position(spec).rotation is None
    if float(world.noise) > 0 or per_head < spec.vocab or len(world.kernels) > spec.heads or not plain:
        return None
    module = built(spec)
    mixer = module.blocks[0].parts[0].component
    profiles = np.stack([np.asarray(profile(k, length, world.early, world.horizon)) for k in world.kernels])
    profiles = profiles[:, :, :length]
    if isinstance(mixer.position.bias, Adjustable):
        mixer.position.bias.adjust(profiles)
    heads = assigned(profiles, _biases(module, mixer, length))
    if heads is None:
        return None
    logits = np.asarray(world.weights)[:, None, None] * np.asarray(world.tables)
    stream = _prepared(module, float(np.abs(logits).sum(0).max()))
    kernel, bias = np.zeros((3, spec.width, spec.heads, per_head)), np.zeros((3, spec.heads, per_head))
    outward = np.zeros((spec.heads, per_head, spec.width))
    for (head, start), table in zip(heads, logits, strict=True):
        bias[0, head, 0] = per_head**0.5
        kernel[1, spec.vocab, head, 0] = max(start, NEVER) / stream.token
        kernel[2, : spec.vocab + 1, head, : spec.vocab] = np.roll(table, -1, axis=0) / stream.token
        outward[head, : spec.vocab, stream.first : stream.first + spec.vocab] = np.eye(spec.vocab)
    _set(mixer.inward, np.moveaxis(kernel, 0, 1).reshape(spec.width, -1), bias.ravel())
    _set(mixer.outward, outward.reshape(spec.width, spec.width))
    return nnx.state(module, nnx.Param)


def _biases(module: Any, mixer: Any, length: int) -> Float[np.ndarray, "head time time"]:
    """The scheme's bias where content is all zeros."""
    spec = module.spec
    if mixer.position.bias is None:
        return np.zeros((spec.heads, length, length))
    nothing = jnp.zeros((length, spec.heads, spec.width // spec.heads), jnp.float32)
    where = module.clock.positions(jnp.zeros(length, jnp.int32))
    return np.asarray(mixer.position.bias(Look(nothing.reshape(length, -1), nothing, nothing, where)), np.float64)


def _lookup(module: Any, world: World) -> Any:
    """A hidden unit per context of at most `taps` tokens, which adds the context's log p to the logits.

    Unit c sums GAP per symbol that matches, less GAP times (their number - 1/2): GAP/2 on a match, -GAP/2 or less
    otherwise, where GELU is the identity and exactly zero. A start symbol in the window marks shorter contexts.
    Impossible tokens get the logit -GAP. For a stationary world this is p(. | the last `taps` tokens).
    """
    spec, mixer = module.spec, module.blocks[0].parts[0].component
    hidden = mixer.inward.kernel.shape[1]
    if spec.vocab**spec.taps > 100 * hidden:
        return None  # no need to enumerate what will not fit
    contexts, logs = _contexts(world, spec.taps)
    if len(contexts) > hidden:
        return None
    stream = _prepared(module, GAP)
    inward, outward, bias = np.zeros((spec.taps, spec.width, hidden)), np.zeros((hidden, spec.width)), np.zeros(hidden)
    for unit, (context, log) in enumerate(zip(contexts, logs, strict=True)):
        for slot, symbol in enumerate(context, spec.taps - len(context)):
            inward[slot, symbol, unit] = GAP / stream.token
        bias[unit] = -GAP * (len(context) - 0.5)
        outward[unit, stream.first : stream.first + spec.vocab] = np.maximum(log, -GAP) / (GAP / 2)
    _set(mixer.inward, inward.reshape(-1, hidden), bias)
    _set(mixer.outward, outward)
    return nnx.state(module, nnx.Param)


def _contexts(world: World, taps: int) -> tuple[list[list[int]], list[Float[np.ndarray, "vocab"]]]:
    """The possible windows of inputs, as symbols, the start symbol (vocab) first if it shows, and their log p."""
    contexts, logs = [], []
    for tokens, _, state in prefixes(world, taps):
        before = [world.vocab_size] if tokens.shape[1] < taps else []
        contexts += [before + list(map(int, row)) for row in tokens]
        logs += list(np.asarray(jax.vmap(world.log_next)(state), np.float64))
    return contexts, logs
