"""The window null: the exact reader that knows the world, and no more than the last `window` tokens of the past.

At position t it says p(x_t | the last window - 1 tokens): in a stationary world that is the world's own rule, started
on them, and the best that any reader of such a window can say. It too improves when documents grow longer, because
fewer of its tokens come early: what a model gains beyond it is use of context, what it gains with it is the early-token
curse. In a world that is not stationary the restarted rule is a reader of the window, but not the best one.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.backend import padded, spread
from experiments.observe.base import NATS, Observation, Predict, at_least, documents, hard, laws, mean, soft
from worlds.base import World, entropy, log_conditionals
from worlds.quantity import Quantity


@dataclass(frozen=True)
class Null:
    """The window null as a protocol: it says what the null scores, whatever the weights are. Build it with `null`."""

    sequences: int
    readers: int
    multiple: int

    unit = "nats/token of the null"  # no member's score: it ranks nothing and enters no ledger

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe; the curve has a point for each position of a document.

        Its rows: h_t, the null's excess over it, and the standard error of h_t - h_L, L the trained length.
        """
        del predict, reached, floor
        tokens = documents(world, key, self.sequences, self.multiple * length)
        truth = laws(world, tokens)
        said = truth[: self.readers].copy()
        said[:, length:] = windowed(world, tokens[: self.readers], length)
        points, came = NATS.points(said), NATS.points(truth[: self.readers])
        excess = soft(truth[: self.readers], points) - soft(truth[: self.readers], came)
        h = np.asarray(entropy(jnp.asarray(truth)))
        level, error = mean(h.mean(1)), (h - h[:, [length - 1]]).std(0, ddof=1) / np.sqrt(len(h))
        gain = mean(excess.mean(1))
        return Observation(
            name="window_null",
            unit=self.unit,
            score=mean(hard(tokens[: self.readers], points).mean(1)),
            scores=(),
            expected=Quantity(
                level.value + gain.value, level.low + gain.low, level.high + gain.high, "estimated", gain.count
            ),
            targets=(),
            ceiling=level,
            world=mean(hard(tokens[: self.readers], came).mean(1)),
            curve=np.stack([h.mean(0), excess.mean(0), error]),
            shows=f"the last {length - 1} tokens at most, in documents of {tokens.shape[1]}",
            window=length,
            tokens=tokens.shape[1],
        )


def windowed(
    world: World, tokens: Int[np.ndarray, "sequence time"], window: int
) -> Float[np.ndarray, "sequence late vocab"]:
    """Log p(x_t | the last window - 1 tokens) for the positions t = window, window + 1, ... of every sequence."""
    ends = np.arange(window, tokens.shape[1])
    shown = tokens[:, ends[:, None] + np.arange(1 - window, 1)]  # the last one is what is predicted
    rows, count = padded(jnp.asarray(shown))
    return np.asarray(_last(world, rows), np.float64)[:count]


@jax.jit
def _last(world: World, shown: Int[Array, "sequence late window"]) -> Float[Array, "sequence late vocab"]:
    one = lambda world, rows: jax.lax.map(lambda row: log_conditionals(world, row)[-1], rows, batch_size=64)  # noqa: E731
    return spread(one, over="sequence")(world, shown)


def null(sequences: int, readers: int, multiple: int) -> Null:
    """The exact reader of the last trained-length window, beside the world's own loss at every position.

    Args:
      sequences: documents behind h_t, at least 2.
      readers: of these, documents on which the null is measured too, at least 2.
      multiple: tokens of a document, in trained lengths, at least 2.
    """
    at_least("null", sequences=(sequences, 2), readers=(readers, 2), multiple=(multiple, 2))
    if readers > sequences:
        raise ValueError(f"null: readers must be at most the {sequences} sequences, but are {readers}")
    return Null(sequences, readers, multiple)
