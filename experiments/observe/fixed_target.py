"""Fixed targets, variable context: the same tokens are scored after ever longer pasts, to isolate the use of context.

(Kazemnejad et al. 2023, arXiv:2305.19466, appendix F; Sun et al. 2021, arXiv:2109.09115.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Array, Key

from experiments.observe.base import Observation, Predict, at_least, readable
from experiments.observe.windows import Windows
from worlds.base import World
from worlds.quantity import Quantity


@dataclass(frozen=True)
class FixedTarget:
    """The last `targets` tokens of documents, after several contexts. Build it with `fixed_target`."""

    sequences: int
    soft: int
    targets: int
    contexts: tuple[int, ...] | None
    unit: str = "nats/token"

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked."""
        del world
        readable("fixed_target", spec, length, max(self.contexts_at(length)) + self.targets)

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe. The score is that of the longest context; the curve has one point per context."""
        contexts = self.contexts_at(length)
        document = max(contexts) + self.targets
        found = []
        for context in contexts:  # one key: the same documents
            window = context + self.targets
            shown = Windows(
                "fixed_target", self.sequences, self.soft, window=window, scored=self.targets, skip=document - window
            )
            found.append(shown.observe(predict, world, length, reached, floor, key))
        curve = np.array([[x.score.value, x.expected.value, x.ceiling.value] for x in found]).T
        shows = f"the last {self.targets} tokens of documents of {document}, after contexts of {contexts} tokens"
        return found[-1]._replace(curve=curve, shows=shows)

    def contexts_at(self, length: int) -> tuple[int, ...]:
        """The contexts at a trained length, in tokens: as given, or up to what fills it, halved twice."""
        if self.contexts is not None:
            return self.contexts
        longest = length - self.targets
        if longest < 1:
            raise ValueError(
                f"fixed_target: targets must be fewer than the {length} trained tokens, but are {self.targets}"
            )
        return tuple(sorted({0, longest // 4, longest // 2, longest}))


def fixed_target(sequences: int, soft: int, targets: int, contexts: Sequence[int] | None = None) -> FixedTarget:
    """The loss of the last tokens of documents, when ever more of what came before them is shown. Nats per token.

    Documents have as many tokens as the longest context and the targets together.

    Args:
      sequences: hard-labelled documents, at least 2.
      soft: independent documents behind the exact targets, where they cannot be enumerated; at least 2.
      targets: tokens scored at the end of each document, at least 1.
      contexts: tokens shown before them, increasing, each at least 0; None: 0, a quarter, a half and all of what the
        trained length leaves.
    """
    at_least("fixed_target", sequences=(sequences, 2), soft=(soft, 2), targets=(targets, 1))
    if contexts is not None and (not contexts or list(contexts) != sorted(set(contexts)) or contexts[0] < 0):
        raise ValueError(f"fixed_target: contexts must be increasing and at least 0 tokens, but are {list(contexts)}")
    return FixedTarget(sequences, soft, targets, None if contexts is None else tuple(contexts))
