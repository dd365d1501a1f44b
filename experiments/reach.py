"""What ordinary training reaches: one pure function of (spec, numbers, key), cut into chunks of scanned steps.

Everything random is inside: the data are drawn from the world step by step (or once, n sequences), corrupted, labelled
and fitted. Training runs in float32. The curve shows distance to truth, not loss alone: the excess is the exact mean
KL(world || network) on each clean batch, in nats per token, so that 0 is the world itself.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int, Key

from models.base import Network, pure
from worlds.base import World, log_conditionals, sample_with_law

OPTIMISERS = ("adamw", "lion", "momentum", "sgd")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class Shape:
    """The shape of a training: whatever changes the compiled program. The reals are in `Numbers`.

    batch [sequences a step], length [tokens a sequence]. sequences: 0 draws endless fresh data, n > 0 trains on n
    sequences, drawn once for each seed. chunk: steps between checkpoints. micro: sequences whose gradients are computed
    at once and then added up (activations stay in the cache of a CPU core); 0 means the whole batch.
    """

    batch: int = 64
    length: int = 32
    sequences: int = 0
    optimiser: str = "adamw"
    schedule: str = "cosine"
    chunk: int = 100
    micro: int = 0

    def __post_init__(self):
        for name in ("batch", "length", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"reach: {name} must be at least 1, but is {getattr(self, name)}")
        for name, choices in (("optimiser", OPTIMISERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"reach: {name} must be one of {', '.join(choices)}, but is {getattr(self, name)!r}")
        if self.sequences < 0:
            raise ValueError(f"reach: sequences must be 0 (endless) or more, but is {self.sequences}")
        if self.micro < 0 or (self.micro and self.batch % self.micro):
            raise ValueError(f"reach: micro must divide batch {self.batch} (or be 0 for all), but is {self.micro}")


@dataclass(frozen=True)
class Reals:
    """The reals of a training, as a user states them; `numbers` makes them arrays, so that they can be mapped over.

    steps: the length of the schedule. rate: peak learning rate. warmup: share of the steps over which it rises.
    decay: decoupled weight decay. clip: largest global gradient norm. momentum: b1 or mu. corruption: probability that
    a training token (input and label) is replaced by a uniform one. softness: 0 trains on the tokens (hard labels), 1
    on the world's own conditionals (soft labels, the oracle's privilege), between them on the mixture.
    """

    steps: int = 1000
    rate: float = 3e-3
    warmup: float = 0.1
    decay: float = 0.0
    clip: float = 1.0
    momentum: float = 0.9
    corruption: float = 0.0
    softness: float = 0.0

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"reach: steps must be at least 1, but is {self.steps}")
        for name in ("rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"reach: {name} must be positive, but is {getattr(self, name)}")
        if not self.decay >= 0:
            raise ValueError(f"reach: decay must be at least 0, but is {self.decay}")
        for name, top in (("warmup", 1.0), ("softness", 1.0)):
            if not 0 <= getattr(self, name) <= top:
                raise ValueError(f"reach: {name} must lie in [0, {top:g}], but is {getattr(self, name)}")
        for name in ("corruption", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"reach: {name} must lie in [0, 1), but is {getattr(self, name)}")


@struct.dataclass
class Numbers:
    """`Reals` as float32 arrays; a stack of them is a population."""

    steps: Float[Array, "*member"]
    rate: Float[Array, "*member"]
    warmup: Float[Array, "*member"]
    decay: Float[Array, "*member"]
    clip: Float[Array, "*member"]
    momentum: Float[Array, "*member"]
    corruption: Float[Array, "*member"]
    softness: Float[Array, "*member"]


def numbers(reals: Reals) -> Numbers:
    """The reals as arrays."""
    return Numbers(**{name: jnp.asarray(value, jnp.float32) for name, value in vars(reals).items()})


class Member(NamedTuple):
    """One seed on its way: all that the next step needs."""

    params: Any
    optimiser: Any
    key: Key[Array, "*member"]  # of the data; each step folds its number in
    dataset: Int[Array, "*member sequence time"]  # no sequences where the data are endless
    step: Int[Array, "*member"]


class Curve(NamedTuple):
    """What the scientist sees of each step, in nats per token."""

    loss: Float[Array, "*member step"]  # on the labels that were trained on
    excess: Float[Array, "*member step"]  # mean KL(world || network) on the clean batch: exact distance to truth


def optimiser(shape: Shape, n: Numbers) -> optax.GradientTransformation:
    """The chain: clip, precondition, decay, schedule. Built inside the traced function, from traced reals."""

    def factor(count):
        warm = jnp.maximum(1.0, n.warmup * n.steps)
        ramp = jnp.minimum(1.0, (count + 1).astype(jnp.float32) / warm)
        done = jnp.clip((count.astype(jnp.float32) - warm) / jnp.maximum(1.0, n.steps - warm), 0, 1)
        return ramp * (0.5 * (1 + jnp.cos(jnp.pi * done)) if shape.schedule == "cosine" else 1.0)

    precondition = {
        "adamw": lambda: optax.scale_by_adam(b1=n.momentum, b2=0.98),
        "lion": lambda: optax.scale_by_lion(b1=n.momentum, b2=0.99),
        "momentum": lambda: optax.trace(decay=n.momentum),
        "sgd": optax.identity,
    }[shape.optimiser]()
    return optax.chain(
        optax.clip_by_global_norm(n.clip),
        precondition,
        optax.add_decayed_weights(n.decay),
        optax.scale_by_schedule(factor),
        optax.scale(-n.rate),
    )


def initial(spec: Any, shape: Shape, world: World, n: Numbers, weights: Key[Array, ""], data: Key[Array, ""]) -> Member:
    """A member before its first step: fresh weights and, where the data are finite, its own n sequences."""
    own, steps = jax.random.split(data)
    dataset = jnp.zeros((0, shape.length), jnp.int32)
    if shape.sequences:
        keys = jax.random.split(own, shape.sequences)
        dataset = jax.vmap(lambda key: sample_with_law(world, key, shape.length)[0])(keys)
    return restarted(shape, n, pure(spec).init(weights), steps, dataset)


def restarted(
    shape: Shape, n: Numbers, params: Any, key: Key[Array, ""], dataset: Int[Array, "sequence time"]
) -> Member:
    """A member at step 0 of its schedule, from given weights."""
    return Member(params, optimiser(shape, n).init(params), key, dataset, jnp.zeros((), jnp.int32))


def train(spec: Any, shape: Shape, steps: int, world: World, n: Numbers, member: Member) -> tuple[Member, Curve]:
    """Takes `steps` steps; the curve has one entry a step."""
    network, tx = pure(spec), optimiser(shape, n)

    def step(member: Member, _):
        tokens, law = batch(shape, world, member)
        noise = jax.random.fold_in(member.key, 2 * member.step + 1)
        seen = corrupt(noise, tokens, n.corruption, world.vocab_size)
        grads, curve = gradient(network, shape, n, member.params, tokens, seen, law)
        updates, state = tx.update(grads, member.optimiser, member.params)
        params = optax.apply_updates(member.params, updates)
        return member._replace(params=params, optimiser=state, step=member.step + 1), curve

    return jax.lax.scan(step, member, length=steps)


def batch(
    shape: Shape, world: World, member: Member
) -> tuple[Int[Array, "batch time"], Float[Array, "batch time vocab"]]:
    """The tokens of a step, and the world's law at each of them."""
    key = jax.random.fold_in(member.key, 2 * member.step)
    if not shape.sequences:
        keys = jax.random.split(key, shape.batch)
        return jax.vmap(lambda key: sample_with_law(world, key, shape.length))(keys)
    rows = jax.random.randint(key, (shape.batch,), 0, shape.sequences, dtype=jnp.int32)
    return member.dataset[rows], jax.vmap(lambda tokens: log_conditionals(world, tokens))(member.dataset[rows])


def corrupt(
    key: Key[Array, ""], tokens: Int[Array, "batch time"], rate: Float[Array, ""], vocab: int
) -> Int[Array, "batch time"]:
    """Each token becomes a uniform one with probability `rate`."""
    flip, draw = jax.random.split(key)
    fresh = jax.random.randint(draw, tokens.shape, 0, vocab, dtype=tokens.dtype)
    return jnp.where(jax.random.uniform(flip, tokens.shape, jnp.float32) < rate, fresh, tokens)


def gradient(
    network: Network,
    shape: Shape,
    n: Numbers,
    params: Any,
    tokens: Int[Array, "batch time"],
    seen: Int[Array, "batch time"],
    law: Float[Array, "batch time vocab"],
) -> tuple[Any, Curve]:
    """The gradient of the mean loss over the batch, micro-batch by micro-batch, and the step's entry in the curve."""

    def objective(params, part):
        tokens, seen, law = part
        said = jax.vmap(network.apply, (None, 0))(params, seen)
        target = (1 - n.softness) * jax.nn.one_hot(seen, law.shape[-1], dtype=said.dtype) + n.softness * jnp.exp(law)
        clean = jax.lax.cond(
            n.corruption > 0,
            lambda: jax.vmap(network.apply, (None, 0))(jax.lax.stop_gradient(params), tokens),
            lambda: said,
        )
        return -(target * said).sum(-1).mean(), kl(law, clean).mean()

    def part(total, x):
        (loss, excess), grads = jax.value_and_grad(objective, has_aux=True)(params, x)
        return jax.tree.map(jnp.add, total, (grads, Curve(loss, excess))), None

    parts = shape.batch // shape.micro if shape.micro else 1
    split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), (tokens, seen, law))
    zero = jax.tree.map(jnp.zeros_like, params), Curve(jnp.zeros(()).astype(law.dtype), jnp.zeros(()).astype(law.dtype))
    total, _ = jax.lax.scan(part, zero, split)
    return jax.tree.map(lambda x: x / parts, total)


def kl(law: Float[Array, "*batch vocab"], said: Float[Array, "*batch vocab"]) -> Float[Array, "*batch"]:
    """KL(p || q) = sum_v p (log p - log q), nats, with 0 log 0 = 0; inf where q gives an impossible token its mass."""
    possible = law > -jnp.inf
    return jnp.where(possible, jnp.exp(law) * (jnp.where(possible, law, 0) - said), 0).sum(-1)
