"""Read concepts: the past may matter through attention profiles, and what is read is mixed (see `programme`).

order_free < decay < offset < absolute: each dictionary contains the one before, by construction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from models.base import Predictor
from models.perception import membership, programme, untied
from models.perception.base import Perceived, nothing, split
from models.perception.contexts import Contexts, enumerated
from models.perception.profiles import ALL_LAGS, Dictionary, Geometric, Power, Windows, table
from models.perception.projection import Projection, project, read
from models.perception.sandwich import REPLICATES, Draws, above, bracket, draw
from worlds.base import LIMIT, World, functional, log_conditionals
from worlds.quantity import ROUNDING, Quantity, certified, exact

MIXED = "mixture"  # what is read is mixed, not added up as logits
ROUGH = 2e-5  # nats: certificates on samples, far below their noise


@dataclass(frozen=True)
class Mixture:
    """The mixtures q_t = sum_h phi_h,t M_h of a dictionary's profiles."""

    name: str
    dictionary: Dictionary

    def perceive(self, world: World, length: int, trained: int, key: Key[Array, ""], sequences: int) -> Perceived:
        """Zero by proof if the world is a member; else the programme, over all prefixes or over samples of them."""
        del trained  # distances mean the same at every length
        own = membership.reads(world, length)
        if own is not None and all(membership.inside(profile, self.dictionary) for profile in own[0]):
            return _member(world, *own)
        if world.vocab_size ** (length - 1) <= LIMIT:
            contexts = enumerated(world, functional(world, length, key, sequences))
            found = self.over(contexts)
            return found if own is not None else found.of(ABSOLUTE.over(contexts).excess)
        return self._sampled(draw(world, length, key, sequences), own is not None)

    def over(self, contexts: Contexts) -> Perceived:
        """The programme over given contexts.

        The certificate is proved over finite dictionaries, and over continua of slopes or of starts. Where both are
        continua and several times count, it is over the profiles that were searched, some ten thousand, the closer to
        each other the nearer they come to lowering the loss; `proved` in info is what holds over all of them.
        """
        found = project(contexts, self.dictionary)
        excess = proved(found.excess, found.certificate)
        info = learnt(found, contexts.length) | {"certificate": found.certificate, "proved": found.proved}
        return split(predictor(found), excess, zero(), info)

    def _sampled(self, draws: Draws, is_mixture: bool) -> Perceived:
        fits, excess = self._bracket(draws)
        found = _mean(fits)
        info = learnt(found, draws.fresh.length) | {"replicates": REPLICATES}
        info["certificate"] = max(fit.certificate for fit in fits)
        if is_mixture:
            return split(predictor(found), excess, zero(), info)
        return split(predictor(found), excess, self._richest(draws, found, excess), info)

    def _richest(self, draws: Draws, found: Projection, excess: Quantity) -> Quantity:
        """Maps of every position's own cannot be found from samples; a member of `offset` bounds them from above."""
        if self.dictionary == OFFSET:
            return replace(excess, low=0.0)
        fit = project(draws.replicates[0], OFFSET, ROUGH, found.columns, 1e-2, 6)
        best = min(excess, above(draws, law(fit, draws.fresh)), key=lambda quantity: quantity.high)
        return replace(best, low=0.0)

    def _bracket(self, draws: Draws) -> tuple[list[Projection], Quantity]:
        def fit(contexts: Contexts, before: Projection | None) -> Projection:
            return project(contexts, self.dictionary, ROUGH, before.columns if before else (), 2e-3, 12)

        return bracket(draws, fit, lambda fits, contexts: law(_mean(fits), contexts))


@dataclass(frozen=True)
class Absolute:
    """Mixtures in which every position reads every earlier position through maps of its own (see `untied`)."""

    extension: str | None = None
    name: str = "absolute"

    def perceive(self, world: World, length: int, trained: int, key: Key[Array, ""], sequences: int) -> Perceived:
        """As `Mixture.perceive`; undefined beyond the trained length unless an extension was declared."""
        if length > trained:
            if self.extension is None:
                return nothing(f"positions beyond the trained {trained} have no meaning, but {length} are asked for")
            return offset().perceive(world, length, trained, key, sequences)
        own = membership.reads(world, length)
        if own is not None:
            return _member(world, *own)
        if world.vocab_size ** (length - 1) <= LIMIT:
            found = self.over(enumerated(world, functional(world, length, key, sequences)))
            return found.of(found.excess)
        # A map for every pair of positions cannot be found from samples: the best of `offset` is a member.
        reached = offset().perceive(world, length, trained, key, sequences)
        excess = replace(reached.excess, low=0.0)
        return reached._replace(excess=excess, readout=excess, concept=exact(0.0))

    def over(self, contexts: Contexts) -> Perceived:
        """The programme of every moment. Where contexts have phases, no position of a sequence says which is meant."""
        found = untied.project(contexts)
        mass = informative(found.maps[-1][::-1, 1:]) if contexts.phase is None else None
        info = {"readout": MIXED, "certificate": found.certificate} | (
            {} if mass is None else {"informative_lag_mass": mass.tolist()}
        )
        says = untied.predictor(found) if contexts.phase is None else None
        return split(says, proved(found.excess, found.certificate), zero(), info)


ABSOLUTE = Absolute()


def unigram() -> Mixture:
    """The past does not matter: one law for every position. What a concept is worth is measured from here."""
    return Mixture("unigram", ())


def order_free(starts: Sequence[float] | str = "continuum") -> Mixture:
    """The order of the past does not matter: every earlier token is read alike (NoPE's idea).

    Args:
      starts: pseudo-counts of the start symbol, each at least 0; or "continuum".

    >>> order_free([0, 1.5]).dictionary
    (Geometric(slopes=(0.0,), starts=(0.0, 1.5)),)
    """
    return Mixture("order_free", (Geometric((0.0,), _numbers("order_free", "starts", starts)),))


def decay(slopes: Sequence[float] | str = "continuum", starts: Sequence[float] | str = "continuum") -> Mixture:
    """The past matters through its distance-decayed content: profiles e^{-m (g-1)} over distances g.

    ALiBi's idea (Press et al. 2022, arXiv:2108.12409). The continuum holds m = 0, so all of `order_free`.

    Args:
      slopes: m, each at least 0; "alibi" for 1/2 ... 1/256; or "continuum", [0, inf].
      starts: half-times of the start symbol in tokens, each at least 0 (models/perception/profiles.py); or "continuum".
    """
    if isinstance(slopes, str) and slopes == "alibi":
        slopes = [2.0**-h for h in range(8, 0, -1)]
    return Mixture("decay", (Geometric(_numbers("decay", "slopes", slopes), _numbers("decay", "starts", starts)),))


def power_decay(rates: Sequence[float] = tuple(2.0**k for k in range(-4, 5))) -> Mixture:
    """The past matters through content that decays as a power of distance: (1 + r (g-1))^-s, any s (KERPLE).

    Exponent 0 is order-free, so all of `order_free` is here.

    Args:
      rates: r, each above 0; the certificate is over these rates and all exponents.
    """
    values = _numbers("power_decay", "rates", rates)
    if values is None or values[0] <= 0:
        raise ValueError(f"power_decay: rates must be numbers above 0, but are {rates!r}")
    return Mixture("power_decay", tuple(Power(r, sink) for r in values for sink in (False, True)))


def monotone() -> Mixture:
    """The past matters less the longer ago it is, entry by entry: mixtures of uniform windows, and all of `decay`.

    Entry by entry, because monotone row sums alone would let a spike at lag k pass if at most 1/k of it is informative.
    """
    return Mixture("monotone", (Geometric(), Windows()))


OFFSET: Dictionary = (Geometric(), ALL_LAGS)


def offset() -> Mixture:
    """The past matters by distance, any distance in any way: one profile per lag, and all of `decay`.

    Relative schemes' idea (T5's bias, RoPE). Lags that find no token read the start symbol.
    """
    return Mixture("offset", OFFSET)


def absolute(extension: str | None = None) -> Absolute:
    """The past matters by position: which token stood where, each position read in its own way.

    Learned and sinusoidal position embeddings' idea (Vaswani et al. 2017, arXiv:1706.03762); it holds all of `offset`.

    Args:
      extension: what positions beyond the trained length mean: None, nothing, so the concept is undefined there; or
        "offset", distances count there as in `offset`.
    """
    if extension not in (None, "offset"):
        raise ValueError(f"absolute: extension must be none or offset, but is {extension!r}")
    return Absolute(extension)


def _numbers(concept: str, name: str, numbers: Sequence[float] | str) -> tuple[float, ...] | None:
    if isinstance(numbers, str):
        if numbers != "continuum":
            raise ValueError(f"{concept}: {name} must be numbers or a known word such as continuum, but is {numbers!r}")
        return None
    values = tuple(sorted({float(x) for x in numbers}))
    if not values or not values[0] >= 0:
        raise ValueError(f"{concept}: {name} must be one or more numbers, each at least 0, but are {list(numbers)}")
    return values


def _member(world: World, profiles: Float[np.ndarray, "head time place"], maps: programme.Maps) -> Perceived:
    """The world is its own best predictor."""
    names = [f"the world's head {h}" for h in range(len(maps))]
    weight = profiles[:, -1].sum(-1) * maps[:, 0].sum(-1)
    info = {"readout": MIXED, "profiles": names, "weight": weight.tolist(), "certificate": 0.0}
    info["informative_lag_mass"] = informative(by_lag(profiles[:, -1], maps)).tolist()
    return split(lambda tokens: log_conditionals(world, tokens), zero(), zero(), info)


def proved(excess: float, certificate: float) -> Quantity:
    """A feasible point's value, and how far below it the optimum can be; never below the floor, by Gibbs."""
    return certified(excess, max(excess - certificate, 0.0), max(excess, 0.0) + ROUNDING)


def zero() -> Quantity:
    """By a proof of membership."""
    return certified(0.0, 0.0, 0.0)


def learnt(found: Projection, length: int) -> dict[str, Any]:
    """Names and weights of the profiles, the largest first, and what each lag says at the last position."""
    order = np.argsort(-found.weight)
    last = np.stack([table(column, length)[-1] for column in found.columns])
    return {
        "readout": MIXED,
        "profiles": [c.family.label(c.slope, c.start) for c in (found.columns[h] for h in order)],
        "weight": found.weight[order].tolist(),
        "informative_lag_mass": informative(by_lag(last, found.maps)).tolist(),
    }


def by_lag(profile: Float[np.ndarray, "head place"], maps: programme.Maps) -> Float[np.ndarray, "lag token vocab"]:
    """M_g = sum_h alpha_h[lag g] M_h.

    Args:
      profile: every head's attention at one position; column 0 is the start symbol's, the last token's is never read.
      maps: M_h.
    """
    return np.einsum("hg,hay->gay", profile[:, 1:-1][:, ::-1], maps[:, 1:])


def informative(maps: Float[np.ndarray, "lag token vocab"]) -> Float[np.ndarray, "lag"]:
    """u_g = w_g - sum_y min_a M_g[a, y]: what depends on the token at lag g.

    Constants move freely between lags, so weights alone mean nothing; this does.
    """
    return maps[:, 0].sum(-1) - maps.min(1).sum(-1)


def law(found: Projection, contexts: Contexts) -> Float[np.ndarray, "context vocab"]:
    """The mixture's law at every context."""
    return programme.mixed(read(found.columns, contexts), found.maps)


def _mean(fits: Sequence[Projection]) -> Projection:
    """The even mixture of the optima, a member of the class; profiles in common are joined."""
    columns = tuple(dict.fromkeys(column for fit in fits for column in fit.columns))
    maps = np.zeros((len(columns), *fits[0].maps.shape[1:]))
    for fit in fits:
        maps[[columns.index(column) for column in fit.columns]] += fit.maps / len(fits)
    return Projection(columns, programme.feasible(maps), float("nan"), float("nan"), float("nan"))


def predictor(found: Projection) -> Predictor:
    """The mixture as a predictor, at any length: its profiles are formulas."""
    maps = jnp.asarray(found.maps)

    def predict(tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
        tables = jnp.asarray(np.stack([table(column, tokens.shape[0]) for column in found.columns]))
        said = maps[:, jnp.concatenate([jnp.zeros(1, tokens.dtype), 1 + tokens])]
        return jnp.log(jnp.einsum("hts,hsy->ty", tables, said))

    return predict
