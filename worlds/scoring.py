"""Scoring and sampling of finite-state worlds faster than by their filter, to float precision the same.

`linear` is the textbook filter in plain numbers: matrix products, no logarithms. It is right as long as nothing
underflows, and it knows when that is: while every entry of the belief, and every entry of the operators, is zero or
above the root of the smallest normal number, no product can vanish, so a zero is a true zero. `scanned` needs log2(T)
rounds instead of T steps: the belief before token t is start T[x_1] ... T[x_{t-1}], and products associate. It works in
log form throughout, so it costs states^3 exponentials per token.

Both ask for numbers without signs. A signed product may cancel to zero, and rounding, which depends on the order of the
sums and so on the machine, cannot tell that zero from a number of its own size: only the filter, which sums in one
order and has one rule for what is zero (`worlds.belief`), says what is impossible there. What a quick form distrusts,
signed worlds and sequences that leave the safe range, is done again by the filter in log form.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from worlds import base
from worlds.belief import Belief, believe, log_positive, scaled, through
from worlds.grouped import STATES, moved

SCAN = 16  # the most states for which the scan is chosen off the CPU
UNITS = 4  # of float epsilon, relative: within these, operators are the product of their factors

Tree = TypeVar("Tree")
Quick = Callable[[Any, Int[Array, "time"]], tuple[Float[Array, "time vocab"], Bool[Array, ""]]]


def scored(world: Any, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
    """Log p(x_t = v | x_1 ... x_{t-1}) for every t and v, by the form that suits the machine and the world's size.

    Measured on two busy CPU cores in float64, milliseconds for filter / checked / scanned. One sequence of 10,000
    tokens: 3 states and 3 tokens 16 / 0.8 / 20; 8 and 4 20 / 11 / 150; 64 and 16 420 / 35. 256 sequences of 256:
    3 and 3 10 / 4 / 350; 8 and 4 50 / 5 / 2900; 64 and 16 2300 / 190, or 10 by groups (`worlds.grouped`). So a CPU
    never scans. On an accelerator, which waits for every small step, worlds of few states do; where to stop follows
    from the count of operations, and was not measured.

    Args:
      world: `transition` [vocab, state, state] and `initial` [state], a `worlds.hmm.HMM`.
      tokens: what was seen; the last is never read as a past.
    """
    scan = jax.default_backend() != "cpu" and len(world.initial) <= SCAN
    return checked(scanned if scan else linear, world, tokens)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def checked(quick: Quick, world: Any, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
    """A quick form where it is safe, else the filter; its slopes are those of the filter."""
    logs, unsafe = quick(world, tokens)
    return _again(logs, unsafe, lambda one: base.filtered(world, tokens * one.astype(tokens.dtype)))


@checked.defjvp
def _slopes(quick, primals, tangents):
    del quick
    return jax.jvp(lambda world: base.filtered(world, primals[1]), primals[:1], tangents[:1])


def drawn(world: Any, key: Key[Array, ""], length: int) -> tuple[Int[Array, "time"], Float[Array, "time vocab"]]:
    """One sequence and the conditionals that it was drawn from: in plain numbers, or where unsafe by the filter."""
    law = jax.ShapeDtypeStruct(world.transition.shape[:1], world.initial.dtype)
    along, noise = base.noises(key, length, law)
    tokens, logs, unsafe = _walked(world, lambda item, logs: base.chosen(noise(item), logs), along)
    data, kind = jax.random.key_data(key), jax.random.key_impl(key)

    def filtered(one):
        again = jax.random.wrap_key_data(data * one.astype(data.dtype), impl=kind)
        return base.drawn(world, again, length)

    return _again((tokens, logs), unsafe, filtered)


def _again(found: Tree, unsafe: Bool[Array, ""], filtered: Callable[[Int[Array, ""]], Tree]) -> Tree:
    """What was found, or what the filter finds where that is unsafe.

    A loop of at most one round, not a condition: when mapped, it costs nothing if no sequence needs it. The round
    multiplies by its own counter, 1, since XLA would otherwise compute it before asking.
    """

    def redone(now):
        return filtered(now[1]), jnp.zeros_like(now[1])

    return jax.lax.while_loop(lambda now: now[1] > 0, redone, (found, unsafe.astype(jnp.int32)))[0]


def linear(world: Any, tokens: Int[Array, "time"]) -> tuple[Float[Array, "time vocab"], Bool[Array, ""]]:
    """The conditionals in plain numbers, and whether they must be distrusted."""
    return _walked(world, lambda token, logs: token, tokens)[1:]


def _walked(world, choose, along):
    """(tokens, conditionals, unsafe) along a walk in plain numbers; choose(item of along, logs) says the token."""
    moves, safe = world.transition, jnp.sqrt(jnp.finfo(world.initial.dtype).tiny)  # safe^2 is still a normal number
    says, onward = moves.sum(-1).T, _onward(moves)

    def step(now, item):
        belief, least = now
        logs = jnp.log(belief @ says)
        token = choose(item, logs)
        joint = onward(belief, token)
        total = joint.sum()
        least = jnp.minimum(least, jnp.where(belief == 0, 1, belief))
        return (joint / jnp.where(total > 0, total, 1), least), (token, logs)

    start = (world.initial, jnp.ones_like(world.initial))
    (_, least), (tokens, logs) = jax.lax.scan(step, start, along)
    return tokens, logs, ~(least >= safe).all() | ((moves != 0) & (moves < safe)).any()


def _onward(moves: Float[Array, "vocab state state"]) -> Callable[..., Float[Array, "state"]]:
    """(belief, token) -> belief @ moves[token], by one matrix for all tokens where the operators have a common factor.

    States that speak, then move, are T[v] = diag(says[v]) A; that move, then speak, A diag(says[v]): one product takes
    all sequences on, whatever their tokens. Looked for where operators are large.
    """
    if moves.shape[-1] < STATES:
        return lambda belief, token: belief @ moves[token]
    common = moves.sum(0)
    leaving, entering = (jnp.where(x != 0, x, 1)[None] for x in (common.sum(1), common.sum(0)))
    before, after = moves.sum(2) / leaving, moves.sum(1) / entering
    slack = UNITS * jnp.finfo(moves.dtype).eps * jnp.abs(moves)
    first = (jnp.abs(before[:, :, None] * common[None] - moves) <= slack).all()
    last = (jnp.abs(common[None] * after[:, None, :] - moves) <= slack).all()
    forms = (
        lambda belief, token: moved(belief, token, moves),
        lambda belief, token: belief @ common * after[token],
        lambda belief, token: (belief * before[token]) @ common,
    )
    form = jnp.where(first, 2, jnp.where(last, 1, 0))
    return lambda belief, token: jax.lax.switch(form, forms, belief, token)


def scanned(world: Any, tokens: Int[Array, "time"]) -> tuple[Float[Array, "time vocab"], Bool[Array, ""]]:
    """The conditionals by an associative scan over the operators of the tokens; distrusted where there are signs."""
    operators = Belief(*(x[tokens[:-1]] for x in believe(world.transition)))
    products = jax.lax.associative_scan(jax.vmap(_product), operators)
    start = believe(world.initial)
    later = jax.vmap(_row, (None, 0))(start, products)
    beliefs = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, later)
    total = jax.vmap(through, (0, None))(beliefs, jnp.ones_like(world.initial)[:, None])
    beliefs = jax.vmap(scaled)(beliefs, log_positive(total)[:, 0])
    unsafe = (world.transition < 0).any() | (world.initial < 0).any()
    return log_positive(jax.vmap(through, (0, None))(beliefs, world.transition.sum(-1).T)), unsafe


def _product(a: Belief, b: Belief) -> Belief:
    found = jax.vmap(_row, (0, None))(a, b)
    top = jax.lax.stop_gradient(found.log.max())  # a common factor changes no conditional, and keeps the logs small
    return Belief(found.sign, found.log - jnp.where(top > -jnp.inf, top, 0))


def _row(row: Belief, matrix: Belief) -> Belief:
    """The row vector b M, both in (sign, log size) form: as `through`."""
    log = row.log[:, None] + matrix.log
    top = jax.lax.stop_gradient(log.max(0))
    top = jnp.where(top > -jnp.inf, top, 0)
    terms = row.sign[:, None] * matrix.sign * jnp.exp(log - top[None])
    found = through(Belief(jnp.ones_like(terms[:, 0]), jnp.zeros_like(terms[:, 0])), terms)
    return Belief(found.sign, found.log + top)
