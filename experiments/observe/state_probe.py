"""State probe: the cross-entropy of a linear-softmax read of the residual stream, in nats.

The read is q_t = softmax(A r_t + c), fitted on documents of its own to the exact belief about the hidden state, or to
the exact law of the next token (convex). Its loss is E mean_t [ - sum_s b_t(s) log q_t(s) ], at least the conditional
entropy E mean_t H(b_t) = H(s_t | x_<t) (Gibbs), which the filter gives; the rest is a divergence. Nats of the state are
no nats of tokens, and never meet them; of the next token, it is the loss that another read-out would reach.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import scipy.optimize
import scipy.special
from jaxtyping import Array, Float, Int, Key

from experiments.observe.base import (
    Observation,
    Predict,
    at_least,
    documents,
    hard,
    mean,
    observed,
    soft,
    split,
)
from experiments.observe.probe import fits, goal, hidden, looked_into, reads, targeted
from experiments.observe.windows import minus
from worlds.base import World, functional
from worlds.quantity import Quantity

Map = tuple[Float[np.ndarray, "width state"], Float[np.ndarray, "state"]]


@dataclass(frozen=True)
class StateProbe:
    """A linear-softmax read of the residual stream. Build it with `state_probe`."""

    sequences: int
    soft: int
    fitted: int
    target: str
    steps: int

    @property
    def unit(self) -> str:
        """Of its score."""
        return "nats/token" if self.target == "law" else "nats/state"

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked."""
        fits("state_probe", self.target, world, spec, length)
        self.signless(world)

    def signless(self, world: World) -> None:
        """Refuses beliefs that are no probabilities."""
        if self.target == "belief" and (np.asarray(hidden(world).transition) < 0).any():
            raise ValueError(
                "state_probe: nats need hidden states that have probabilities, but this world's operators have signs; "
                "try 'probe', or target 'law'"
            )

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe; `predict` must be Open. The hidden state is never seen, so its labels are soft."""
        members = looked_into("state_probe", predict)
        self.signless(world)
        key_fit, key_hard, key_soft = jax.random.split(key, 3)
        fit = documents(world, key_fit, self.fitted, length)
        wanted = goal(world, self.target, fit)
        maps = [softmax_read(read, wanted, self.steps) for read in reads(members, fit)]
        sample = documents(world, key_hard, self.sequences, length)
        measured = functional(world, length, key_soft, self.soft)
        weight = np.asarray(measured.weight) if measured.exact else None
        got = self.losses(members, world, maps, sample, labels=self.target == "belief")
        due = self.losses(members, world, maps, np.asarray(measured.tokens), labels=True)
        ceiling = mean(due[-1], weight)
        shows = f"the residual stream over sequences of {length} tokens; target: the {self.target}"
        found = observed("state_probe", self.unit, got, due[:-1], weight, ceiling, shows, sample)
        if self.target == "belief":
            return found
        excess = mean(minus(due[:-1].mean(0), due[-1]), weight)
        return found._replace(parts=split(found.score, found.expected, ceiling, excess, reached, floor))

    def losses(
        self, members: Any, world: World, maps: list[Map], tokens: Int[np.ndarray, "document time"], labels: bool
    ) -> Float[np.ndarray, "predictor document"]:
        """Of each member's read and, last, of the exact target; labels are the target itself, or what came."""
        with np.errstate(divide="ignore"):  # impossible states and tokens
            truth = np.log(goal(world, self.target, tokens))
        said = [
            scipy.special.log_softmax(r @ a + c, -1) for r, (a, c) in zip(reads(members, tokens), maps, strict=True)
        ]
        logs = np.stack([*said, truth])
        return (soft(np.broadcast_to(truth, logs.shape), -logs) if labels else hard(tokens, -logs)).mean(-1)


def softmax_read(
    read: Float[np.ndarray, "document time width"], wanted: Float[np.ndarray, "document time state"], steps: int
) -> Map:
    """Weights and constants of the read of least cross-entropy, by L-BFGS in coordinates of unit covariance."""
    x, y = read.reshape(-1, read.shape[-1]), wanted.reshape(-1, wanted.shape[-1])
    middle = x.mean(0)
    _, size, axes = np.linalg.svd((x - middle) / np.sqrt(len(x)), full_matrices=False)
    known = size > size[0] * 1e-7  # float32 streams have no more digits
    whiten = (axes[known] / size[known, None]).T
    z = np.concatenate([(x - middle) @ whiten, np.ones((len(x), 1))], 1)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        logs = scipy.special.log_softmax(z @ flat.reshape(z.shape[1], -1), -1)
        return -(y * logs).sum(-1).mean(), (z.T @ (np.exp(logs) - y) / len(z)).ravel()

    start = np.zeros(z.shape[1] * y.shape[1])
    found = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": steps}).x
    weights = found.reshape(z.shape[1], -1)
    return whiten @ weights[:-1], weights[-1] - middle @ whiten @ weights[:-1]


def state_probe(sequences: int, soft: int, fitted: int, target: str, steps: int) -> StateProbe:
    """The cross-entropy of a softmax read of the residual stream against the world's exact belief or law.

    The exact target is that of the read that was fitted, over the world's law.

    Args:
      sequences: documents of the trained length that judge the read, at least 2.
      soft: independent documents behind the exact target, where it cannot be enumerated; at least 2.
      fitted: documents that the read is fitted on, at least 1.
      target: "belief", about the hidden state (nats per state), or "law", of the next token (nats per token).
      steps: of L-BFGS at the most, at least 1: where a state can be read for certain, the best read is at infinity.
    """
    at_least("state_probe", sequences=(sequences, 2), soft=(soft, 2), fitted=(fitted, 1), steps=(steps, 1))
    targeted("state_probe", target)
    return StateProbe(sequences, soft, fitted, target, steps)
