"""What ordinary training reaches: one pure function of (spec, numbers, key), cut into chunks of looped steps.

Everything random is inside: the data are drawn from the world step by step (or once, n sequences), corrupted, labelled
and fitted. Training runs in float32. The curve shows distance to truth, not loss alone: the excess is the exact mean
KL(world || network) on each clean batch, in nats per token, so that 0 is the world itself.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from experiments import hosts
from experiments.alchemy import Numbers, Reals, Shape, numbers
from experiments.data import Batch, batch, corrupt, dataset, epoch, labels, positions
from experiments.optimisers import averaged, optimiser
from models.base import Network, pure
from worlds.base import World

__all__ = ["Curve", "Member", "Numbers", "Reals", "Shape", "initial", "kl", "numbers", "restarted", "train"]

Arrays = Array | np.ndarray
ROWS = 512  # tokens of a micro-batch on a CPU: at three sizes the fastest, or within 4 % (experiments/bench)
ROUNDED = {"bfloat16": jnp.bfloat16, "float16": jnp.float16}


class Member(NamedTuple):
    """One seed on its way: all that the next step needs."""

    params: Any
    optimiser: Any
    average: Any  # of the weights; None where the last ones are evaluated
    key: Key[Array, "*member"]  # of the data; each step folds its number in
    dataset: Int[Array, "*member sequence time"]  # no sequences where the data are endless
    order: Int[Array, "*member row"]  # of the present epoch; no rows where there are no epochs
    step: Int[Array, "*member"]

    def evaluated(self) -> Any:
        """The weights that are evaluated."""
        return self.params if self.average is None else self.average


class Curve(NamedTuple):
    """What the scientist sees of a training, in nats per token; nan beyond a member's own steps."""

    loss: Float[Arrays, "*member step"]  # on the labels that were trained on, before each step
    excess: Float[Arrays, "*member step"]  # mean KL(world || network) on the clean batch: exact distance to truth
    watched: Int[np.ndarray, "moment"] | None = (
        None  # steps taken when the evaluated weights were watched, if they were
    )
    by_position: Float[np.ndarray, "member moment time"] | None = None  # their excess then, over sequences held out


def check(spec: Any, reals: Reals, vocab: int) -> None:
    """Refuses what the network or the world has no room for."""
    if reals.dropout and not pure(spec).drops:
        raise ValueError(f"reach: dropout needs a network whose call takes `drop`, but {spec} has none")
    if reals.channel is not None and len(reals.channel) != vocab:
        raise ValueError(f"reach: channel must have a row for each of {vocab} tokens, but has {len(reals.channel)}")


def initial(spec: Any, shape: Shape, world: World, n: Numbers, weights: Key[Array, ""], data: Key[Array, ""]) -> Member:
    """A member before its first step: fresh weights and, where the data are finite, its own n sequences."""
    params = jax.tree.map(lambda x: x * n.scale.astype(x.dtype) if x.ndim > 1 else x, pure(spec).init(weights))
    return restarted(shape, world, n, params, data)


def restarted(shape: Shape, world: World, n: Numbers, params: Any, data: Key[Array, ""]) -> Member:
    """A member at step 0 of its schedule, from given weights."""
    own, steps = jax.random.split(data)
    rows = jnp.arange(shape.sequences if shape.order == "epochs" else 0, dtype=jnp.int32)
    average = None if shape.average == "none" else params
    state = optimiser(shape, n).init(params)
    return Member(params, state, average, steps, dataset(world, shape, own), rows, jnp.zeros((), jnp.int32))


def train(
    spec: Any, shape: Shape, world: World, n: Numbers, member: Member, steps: Int[Array, ""]
) -> tuple[Member, Curve]:
    """Takes `steps` steps, at most `shape.chunk`; the curve has an entry for each of a chunk's."""
    network, tx = pure(spec), optimiser(shape, n)
    key, own = member.key, member.dataset  # what no step changes stays out of the loop's state

    def step(i, now):
        member, curve = now
        order = epoch(shape, key, member.step, member.order)
        drawn = batch(shape, world, n, jax.random.fold_in(key, 2 * member.step), member.step, own, order)
        noise = jax.random.fold_in(key, 2 * member.step + 1)
        grads, seen = gradient(network, shape, n, member.params, drawn, noise, member.step)
        updates, state = tx.update(grads, member.optimiser, member.params)
        params = rounded(shape, optax.apply_updates(member.params, updates))
        count = member.step + 1
        average = None if member.average is None else averaged(shape, n, count, member.average, params)
        member = member._replace(params=params, optimiser=state, average=average, order=order, step=count)
        return member, jax.tree.map(lambda row, x: row.at[i].set(x.astype(row.dtype)), curve, seen)

    blank = Curve(*jnp.full((2, shape.chunk), jnp.nan, jnp.float32))
    last, curve = jax.lax.fori_loop(0, steps, step, (member._replace(key=None, dataset=None), blank))
    return last._replace(key=key, dataset=own), curve


def rounded(shape: Shape, params: Any) -> Any:
    """Weights as their stored float type has them; kept in the network's own type, so that nothing else changes."""
    if shape.precision == "full":
        return params
    return jax.tree.map(lambda x: x.astype(ROUNDED[shape.precision]).astype(x.dtype), params)


def gradient(
    network: Network, shape: Shape, n: Numbers, params: Any, drawn: Batch, noise: Key[Array, ""], step: Int[Array, ""]
) -> tuple[Any, Curve]:
    """The gradient of the mean loss over the batch, micro-batch by micro-batch, and the step's entry in the curve."""
    tokens, law, start = drawn
    seen = corrupt(noise, tokens, n, law.shape[-1])
    weight = positions(shape, n, step)
    drops = None if n.dropout is None else jax.random.split(jax.random.fold_in(noise, 1), len(tokens))

    def objective(params, part):
        tokens, law, start, seen, drops = part
        said = jax.vmap(lambda x, key: network.apply(params, x, *_dropping(n, key)))(seen, drops)
        loss = (-(labels(n, seen, law) * said).sum(-1) * weight[None]).sum(-1).mean()
        return loss, _excess(network, n, jax.lax.stop_gradient(params), start or (tokens, law), bool(start), said)

    def part(total, x):
        (loss, excess), grads = jax.value_and_grad(objective, has_aux=True)(params, x)
        seen = Curve(loss.astype(law.dtype), excess.astype(law.dtype))  # whatever the network's precision
        return jax.tree.map(jnp.add, total, (grads, seen)), None

    rows = hosts.share((tokens, law, start, seen, drops))
    parts = len(rows[0]) // together(shape, len(rows[0]))
    split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), rows)
    zero = jax.tree.map(jnp.zeros_like, params), Curve(jnp.zeros((), law.dtype), jnp.zeros((), law.dtype))
    total, _ = jax.lax.scan(part, zero, split)
    return hosts.averaged(jax.tree.map(lambda x: x / parts, total))


def together(shape: Shape, batch: int) -> int:
    """Sequences of a micro-batch, of so many: what is asked for, or on a CPU the divisor nearest to ROWS tokens."""
    if shape.micro == 0 or (shape.micro is None and jax.default_backend() != "cpu"):
        return batch
    return shape.micro or min(_divisors(batch), key=lambda count: abs(np.log(count * shape.length / ROWS)))


def _divisors(count: int) -> list[int]:
    return [n for n in range(1, count + 1) if count % n == 0]


def _excess(network, n, params, clean, elsewhere, said):
    """The divergence on the clean sequences from the world's start; what was said in training serves if it was that."""
    tokens, law = clean

    def again():
        return jax.vmap(network.apply, (None, 0))(params, tokens)

    if elsewhere or n.dropout is not None:
        return kl(law, again()).mean()
    return kl(law, jax.lax.cond(n.corruption > 0, again, lambda: jax.lax.stop_gradient(said))).mean()


def _dropping(n: Numbers, key: Key[Array, ""] | None) -> tuple[Any, ...]:
    """What `apply` takes besides tokens: nothing, or how to drop features of the output of its component number i."""
    rate = n.dropout
    if rate is None or key is None:
        return ()

    def drop(i: int, x: Array) -> Array:
        kept = jax.random.uniform(jax.random.fold_in(key, i), x.shape, jnp.float32) >= rate
        return jnp.where(kept, x / (1 - rate).astype(x.dtype), jnp.zeros((), x.dtype))

    return (drop,)


def kl(law: Float[Array, "*batch vocab"], said: Float[Array, "*batch vocab"]) -> Float[Array, "*batch"]:
    """KL(p || q) = sum_v p (log p - log q), nats, with 0 log 0 = 0; inf where q gives an impossible token its mass."""
    possible = law > -jnp.inf
    return jnp.where(possible, jnp.exp(law) * (jnp.where(possible, law, 0) - said), 0).sum(-1)
