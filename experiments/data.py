"""What a step trains on: sequences drawn from the world, what noise makes of them, and the labels they get."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from experiments.alchemy import Numbers, Shape
from worlds.base import World, log_conditionals, sample_with_law

_EPOCHS = 2**32 - 1  # folded into a member's key for the orders of its epochs: no step is that late


class Batch(NamedTuple):
    """The sequences of a step, clean, with the world's law at each of their tokens."""

    tokens: Int[Array, "batch time"]
    law: Float[Array, "batch time vocab"]  # given everything before, what a crop left out included
    start: Any  # (tokens, law) of the same sequences from the world's start; None where nothing is cropped


def dataset(world: World, shape: Shape, key: Key[Array, ""]) -> Int[Array, "sequence time"]:
    """A member's own sequences: the pool, then the n of a finite training; none where there is neither."""
    whole, count = shape.length + shape.crop, shape.pool + shape.sequences
    if not count:
        return jnp.zeros((0, whole), jnp.int32)
    return jax.vmap(lambda key: sample_with_law(world, key, whole)[0])(jax.random.split(key, count))


def epoch(shape: Shape, key: Key[Array, ""], step: Int[Array, ""], last: Int[Array, "row"]) -> Int[Array, "row"]:
    """The order of the epoch that a step belongs to; `last` is that of the step before."""
    if shape.order != "epochs":
        return last
    number, place = jnp.divmod(step, shape.sequences // shape.batch)
    drawn = jax.random.fold_in(jax.random.fold_in(key, _EPOCHS), number)
    return jax.lax.cond(
        place == 0, lambda: jax.random.permutation(drawn, jnp.arange(len(last), dtype=jnp.int32)), lambda: last
    )


def batch(
    shape: Shape,
    world: World,
    n: Numbers,
    key: Key[Array, ""],
    step: Int[Array, ""],
    own: Int[Array, "sequence time"],
    order: Int[Array, "row"],
) -> Batch:
    """The sequences of a step, from its key, the member's own sequences and the order of its epoch."""
    law = None
    if shape.sequences:
        tokens = own[shape.pool + _rows(shape, n, key, step, order)]
    else:
        keys = jax.random.split(key, shape.batch)
        tokens, law = jax.vmap(lambda key: sample_with_law(world, key, shape.length + shape.crop))(keys)
    if shape.pool:
        which, row = jax.random.split(jax.random.fold_in(key, 1))
        again = jax.random.uniform(which, (shape.batch, 1), jnp.float32) < n.repeats
        tokens, law = jnp.where(again, own[jax.random.randint(row, (shape.batch,), 0, shape.pool)], tokens), None
    if law is None:
        law = jax.vmap(lambda tokens: log_conditionals(world, tokens))(tokens)
    return _cropped(shape, jax.random.fold_in(key, 2), tokens, law) if shape.crop else Batch(tokens, law, None)


def _rows(
    shape: Shape, n: Numbers, key: Key[Array, ""], step: Int[Array, ""], order: Int[Array, "row"]
) -> Int[Array, "batch"]:
    if shape.order == "epochs":
        place = step % (shape.sequences // shape.batch) * shape.batch
        return jax.lax.dynamic_slice_in_dim(order, place, shape.batch)
    count = shape.sequences if n.sequences is None else n.sequences
    return jax.random.randint(key, (shape.batch,), 0, count, dtype=jnp.int32)


def _cropped(shape: Shape, key: Key[Array, ""], tokens: Any, law: Any) -> Batch:
    """A window of each sequence, and its beginning."""
    first = jax.random.randint(key, (shape.batch,), 0, shape.crop + 1)
    window = jax.vmap(lambda x, at: jax.lax.dynamic_slice_in_dim(x, at, shape.length))
    start = tokens[:, : shape.length], law[:, : shape.length]
    return Batch(window(tokens, first), window(law, first), start)


def corrupt(key: Key[Array, ""], tokens: Int[Array, "batch time"], n: Numbers, vocab: int) -> Int[Array, "batch time"]:
    """Each token goes through the channel with probability `corruption`; nothing is drawn where that is zero."""

    def noisy():
        flip, draw = jax.random.split(key)
        if n.channel is None:
            other = jax.random.randint(draw, tokens.shape, 0, vocab, dtype=tokens.dtype)
        else:
            other = jax.random.categorical(draw, jnp.log(n.channel)[tokens]).astype(tokens.dtype)
        return jnp.where(jax.random.uniform(flip, tokens.shape, jnp.float32) < n.corruption, other, tokens)

    return jax.lax.cond(n.corruption > 0, noisy, lambda: tokens)


def labels(
    n: Numbers, seen: Int[Array, "*batch time"], law: Float[Array, "*batch time vocab"]
) -> Float[Array, "*batch time vocab"]:
    """What the network should say: the token that was seen, the world's law at a temperature, or their mixture."""
    hard = jax.nn.one_hot(seen, law.shape[-1], dtype=law.dtype)
    return (1 - n.softness) * hard + n.softness * jax.nn.softmax(law / n.temperature)


def positions(shape: Shape, n: Numbers, step: Int[Array, ""]) -> Float[Array, "time"]:
    """The weights of the positions in the loss of a step, which sum to 1: the first ones only, until a curriculum ends.

    A causal network that is trained on the first k positions is trained on sequences of k tokens.
    """
    lasts = n.curriculum * n.steps
    share = jnp.where(lasts > 0, jnp.minimum(1.0, step.astype(jnp.float32) / jnp.maximum(lasts, 1.0)), 1.0)
    grown = jnp.minimum(n.shortest + (shape.length - n.shortest) * share, shape.length)
    trained = (jnp.arange(shape.length, dtype=jnp.float32) < jnp.round(grown)).astype(jnp.float32)
    return trained / trained.sum()
