"""Accuracy: how often the most likely token is the one that comes. It sees ranks, not sizes."""

import numpy as np
from jaxtyping import Float

from experiments.observe.base import Reading
from experiments.observe.windows import Windows, checked


def first_choice(logs: Float[np.ndarray, "*rows vocab"]) -> Float[np.ndarray, "*rows vocab"]:
    """One for the most likely token, zero for the others; ties, after rounding to 1e-13, go to the smallest token.

    A predictor that holds all tokens impossible has no first choice, and is never right.
    """
    chances = np.exp(logs).round(13)
    first = chances.argmax(-1)[..., None] == np.arange(logs.shape[-1])
    return np.where(chances.max(-1, keepdims=True) > 0, first, 0.0)


ACCURACY = Reading("fraction", first_choice, np.argmax)


def accuracy(sequences: int, soft: int, windows: int, window: int | None = None, scored: int | None = None) -> Windows:
    """The fraction of tokens that the predictor called most likely, in non-overlapping windows.

    Its ceiling is E max_v p(v | what is shown). All predictors that agree on the most likely token tie with the truth.

    Args:
      sequences: hard-labelled documents, at least 2.
      soft: independent documents behind the exact target, where it cannot be enumerated; at least 2.
      windows: per document, at least 1.
      window: tokens, at least 1; None is the trained length.
      scored: the last so many tokens of a window count; None: all.
    """
    return checked(Windows("accuracy", sequences, soft, windows, window, scored=scored, reading=ACCURACY))
