"""The log-linear read-out: q_t = softmax(sum_h phi_h,t B_h), the class of a position-only attention network.

Convex in B, but signed logits undo decay (eight slopes span every kernel), so the class is stated with a budget,
|B_h[a, y]| <= R. Certificate, Frank & Wolfe's: F(B) - min F <= <grad, B> + R |grad|_1, over the box.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.special
from jaxtyping import Array, Float, Int, Key

from models.base import Predictor
from models.perception import programme
from models.perception.base import Perceived, split
from models.perception.contexts import Contexts, enumerated
from models.perception.mixture import proved, zero
from models.perception.profiles import ALL_LAGS, UNIGRAM, Column, Dictionary, Geometric, table
from models.perception.projection import read
from models.perception.sandwich import REPLICATES, bracket, draw
from worlds.base import LIMIT, World, functional
from worlds.quantity import Quantity


class Fit(NamedTuple):
    """Logits of every profile."""

    logits: Float[np.ndarray, "head symbol vocab"]
    excess: float
    certificate: float


@dataclass(frozen=True)
class LogLinear:
    """The products of experts over the profiles of a finite dictionary, within a budget."""

    name: str
    dictionary: Dictionary
    budget: float  # R, nats

    def perceive(self, world: World, length: int, trained: int, key: Key[Array, ""], sequences: int) -> Perceived:
        """The convex programme over all prefixes where they are few, else the sandwich; one part only, the concept's.

        No richer dictionary is solved: the excess is not divided.
        """
        del trained
        if world.vocab_size ** (length - 1) <= LIMIT:
            return self.over(enumerated(world, functional(world, length, key, sequences)))
        draws = draw(world, length, key, sequences)
        fits, bounds = bracket(draws, lambda c, _: self.fitted(c), lambda f, c: self._law(_mean(f), c))
        return self._perceived(_mean(fits), bounds, {"replicates": REPLICATES})

    def over(self, contexts: Contexts) -> Perceived:
        """The programme over given contexts."""
        found = self.fitted(contexts)
        return self._perceived(found, proved(found.excess, found.certificate), {})

    def _perceived(self, found: Fit, bounds: Quantity, info: dict[str, Any]) -> Perceived:
        info |= {
            "readout": "log-linear",
            "certificate": found.certificate,
            "budget": self.budget,
            "largest": float(np.abs(found.logits).max()),
        }
        return split(self._predictor(found), bounds, zero(), info)

    def columns(self, length: int) -> tuple[Column, ...]:
        """All profiles, and the unigram's."""
        chosen = [
            Column(f, float(m), float(s)) for f in (UNIGRAM, *self.dictionary) for m, s in _pairs(*f.grid(length))
        ]
        return tuple(chosen)

    def fitted(self, contexts: Contexts) -> Fit:
        """The optimum over the contexts, from nothing read."""
        columns = self.columns(contexts.length)
        features = read(columns, contexts)
        flat = features.reshape(len(features), -1)
        shape = flat.shape[1], contexts.vocab
        held = (contexts.weight @ scipy.special.xlogy(contexts.target, contexts.target)).sum()

        def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
            logs = scipy.special.log_softmax(flat @ x.reshape(shape), axis=1)
            slope = flat.T @ (contexts.weight[:, None] * (np.exp(logs) - contexts.target))
            return float(held - contexts.weight @ (contexts.target * logs).sum(1)), slope.ravel()

        x = _minimised(loss, shape[0] * shape[1], self.budget, flat, contexts)
        value, slope = loss(x)
        gap = float(slope @ x + self.budget * np.abs(slope).sum()) + 1e-12
        return Fit(x.reshape(features.shape[1], features.shape[2], -1), value, gap)

    def _law(self, found: Fit, contexts: Contexts) -> Float[np.ndarray, "context vocab"]:
        features = read(self.columns(contexts.length), contexts)
        return scipy.special.softmax(programme.mixed(features, found.logits), axis=1)

    def _predictor(self, found: Fit) -> Predictor:
        logits = jnp.asarray(found.logits)

        def predict(tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
            tables = jnp.asarray(np.stack([table(column, tokens.shape[0]) for column in self.columns(tokens.shape[0])]))
            said = logits[:, jnp.concatenate([jnp.zeros(1, tokens.dtype), 1 + tokens])]
            return jax.nn.log_softmax(jnp.einsum("hts,hsy->ty", tables, said))

        return predict


def _pairs(slopes: np.ndarray, starts: np.ndarray) -> list[tuple[float, float]]:
    return [(m, s) for m in slopes for s in starts]


def _mean(fits: Sequence[Fit]) -> Fit:
    return Fit(np.mean([fit.logits for fit in fits], axis=0), float("nan"), max(fit.certificate for fit in fits))


def _minimised(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]],
    size: int,
    budget: float,
    flat: np.ndarray,
    contexts: Contexts,
    rounds: int = 60,
) -> np.ndarray:
    """Projected Newton steps to what floats allow; where bounds get in their way, L-BFGS-B goes round them."""
    x = _around(loss, np.zeros(size), budget)
    for _ in range(rounds):
        value, slope = loss(x)
        if slope @ x + budget * np.abs(slope).sum() < 1e-11:
            break
        free = ~(((x >= budget) & (slope < 0)) | ((x <= -budget) & (slope > 0)))
        hessian = _hessian(flat, contexts, x)[np.ix_(free, free)]
        move = np.zeros(size)
        ridge = 1e-13 * np.trace(hessian)  # constants move freely between rows, so the Hessian is singular
        move[free] = -np.linalg.solve(hessian + ridge * np.eye(len(hessian)), slope[free])
        trial = next((y for y in _ahead(x, move, budget) if _better(loss(y), value, slope)), None)
        x = _around(loss, x, budget) if trial is None else trial
    return x


def _around(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], x: np.ndarray, budget: float) -> np.ndarray:
    options = {"maxiter": 500, "ftol": 0.0, "gtol": 1e-12}
    bounds = [(-budget, budget)] * len(x)
    return scipy.optimize.minimize(loss, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x


def _ahead(x: np.ndarray, move: np.ndarray, budget: float) -> Iterator[np.ndarray]:
    return (np.clip(x + 0.5**k * move, -budget, budget) for k in range(12))


def _better(then: tuple[float, np.ndarray], value: float, slope: np.ndarray) -> bool:
    """Lower; or level, within rounding, with a smaller slope."""
    return then[0] < value or (then[0] <= value + 1e-15 and bool(np.abs(then[1]).sum() < np.abs(slope).sum()))


def _hessian(flat: np.ndarray, contexts: Contexts, x: np.ndarray) -> np.ndarray:
    """sum_c weight_c phi phi^T (x) (diag q - q q^T), in the order [feature, token]."""
    features, vocab = flat.shape[1], contexts.vocab
    law = scipy.special.softmax(flat @ x.reshape(features, vocab), axis=1)
    blocks = np.empty((features, vocab, features, vocab))
    for y in range(vocab):
        for z in range(y, vocab):
            curve = law[:, y] * ((y == z) - law[:, z]) * contexts.weight
            blocks[:, y, :, z] = blocks[:, z, :, y] = (flat * curve[:, None]).T @ flat
    return blocks.reshape(features * vocab, features * vocab)


def log_linear(
    reads: str = "offset", budget: float = 10.0, slopes: Sequence[float] = (1.0, 0.5, 0.25, 0.0625)
) -> LogLinear:
    """The past matters through logits that profiles add up: softmax(sum_h phi_h,t B_h), |B| <= budget.

    Args:
      reads: "offset", one profile per lag; "decay", the given slopes, which signed logits turn into any kernel as the
        budget grows; or "order_free".
      budget: R, nats, above 0: the largest logit in size.
      slopes: m of "decay", each at least 0.
    """
    dictionaries: dict[str, Dictionary] = {
        "offset": (ALL_LAGS,),
        "decay": (Geometric(tuple(sorted(float(m) for m in slopes)), (0.0,)),),
        "order_free": (Geometric((0.0,), (0.0,)),),
    }
    if reads not in dictionaries:
        raise ValueError(f"log_linear: reads must be one of {', '.join(dictionaries)}, but is {reads!r}")
    if not budget > 0:
        raise ValueError(f"log_linear: budget must be above 0 nats, but is {budget}")
    return LogLinear(f"log_linear {reads}", dictionaries[reads], float(budget))
