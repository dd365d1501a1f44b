"""Generation: every member continues prompts with its own tokens, one at a time."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from experiments.observe.base import Predict, ask, ask_all, laws
from worlds.base import World

Choose = Callable[[Float[np.ndarray, "member sequence vocab"], int], Int[np.ndarray, "member sequence"]]


def continued(
    predict: Predict, prompts: Int[np.ndarray, "sequence time"], given: int, choose: Choose
) -> tuple[Int[np.ndarray, "member sequence time"], Float[np.ndarray, "member sequence time vocab"]]:
    """Each member's own continuations of the first `given` tokens, and what it said at every step.

    `choose` picks the tokens from the log probabilities and the time. Tokens of `prompts` after `given` are not read.
    """
    blank = np.where(np.arange(prompts.shape[1]) < given, prompts, 0)
    members = len(ask(predict, blank[:1]))
    tokens = np.repeat(blank[None], members, 0)
    for t in range(given, prompts.shape[1]):
        tokens[:, :, t] = choose(own(predict, tokens)[:, :, t], t)
    return tokens, own(predict, tokens)


def own(
    predict: Predict, tokens: Int[np.ndarray, "member sequence time"]
) -> Float[np.ndarray, "member sequence time vocab"]:
    """What each member says of its own sequences."""
    return np.stack([ask_all(predict, mine)[member] for member, mine in enumerate(tokens)])


def most_likely(logs: Float[np.ndarray, "*rows vocab"]) -> Int[np.ndarray, "*rows"]:
    """The likeliest token; ties, after rounding to 1e-13, go to the smallest."""
    return np.exp(logs).round(13).argmax(-1)


def likeliest_continuation(
    world: World, prompts: Int[np.ndarray, "sequence time"], given: int, beam: int
) -> tuple[Float[np.ndarray, "sequence"], Float[np.ndarray, "sequence"]]:
    """Bounds on max_y log p(y | prompt) over all continuations y to the end of `prompts`: (found, no more than).

    A beam search whose cut branches bound what it may have missed: a continuation is never likelier than its beginning.
    """
    count, length = prompts.shape
    beams = np.where(np.arange(length) < given, prompts, 0)[:, None, :]
    scores, missed = np.zeros((count, 1)), np.full(count, -np.inf)
    for t in range(given, length):
        width, flat = beams.shape[1], beams.reshape(-1, length)
        following = laws(world, flat)[:, t].reshape(count, width, -1)
        grown = (scores[:, :, None] + following).reshape(count, -1)
        order = np.argsort(-grown, axis=1, kind="stable")
        kept, cut = order[:, :beam], order[:, beam : beam + 1]
        if cut.size:
            missed = np.maximum(missed, np.take_along_axis(grown, cut, 1)[:, 0])
        vocab = following.shape[-1]
        beams = np.take_along_axis(beams, (kept // vocab)[:, :, None], 1)
        beams[:, :, t] = kept % vocab
        scores = np.take_along_axis(grown, kept, 1)
    best = scores.max(1)
    return best, np.maximum(best, missed)
