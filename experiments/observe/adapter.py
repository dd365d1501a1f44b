"""What others trained, as predictors: any callable tokens -> log probabilities, and PyTorch causal language models.

A model that reads text speaks of more tokens than a world has. It is asked for the world's tokens only: its law is
conditioned on them, q(v) / sum_w q(w), which can only flatter it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Int

from experiments.observe.base import Predict
from models.base import Predictor


def predictors(*members: Predictor) -> Predict:
    """Functions of one sequence, tokens [time] -> log probabilities [time, vocab] that jax can trace, as one Predict.

    >>> flat = lambda tokens: jnp.full((len(tokens), 2), -jnp.log(2.0))
    >>> predictors(flat, flat)(jnp.zeros((5, 3), int)).shape
    (2, 5, 3, 2)
    """
    mapped = [jax.jit(jax.vmap(member)) for member in members]
    return lambda tokens: np.stack([np.asarray(member(tokens), np.float64) for member in mapped])


def callables(*members: Callable[[np.ndarray], Any]) -> Predict:
    """Functions of a batch, tokens [sequence, time] -> log probabilities [sequence, time, vocab], of any make.

    Logits will do: they are normalised here, in float64.
    """

    def predict(tokens: Int[Array, "sequence time"]) -> Float[np.ndarray, "member sequence time vocab"]:
        said = [np.asarray(member(np.asarray(tokens)), np.float64) for member in members]
        return np.stack([_normalised(logs) for logs in said])

    return predict


def torch_causal(*models: Any, start: int, vocabulary: Sequence[int]) -> Predict:
    """PyTorch causal language models, Hugging Face's among them, as members. They are put into evaluation mode.

    Args:
      models: called with input ids [sequence, time]; they return logits [sequence, time, vocab], or an object that
        holds them as `logits`.
      start: the id that begins every sequence, so that the first token is predicted too.
      vocabulary: the model's id of each of the world's tokens, all different.
    """
    import torch  # pyright: ignore[reportMissingImports]  # an extra: only who has such a model needs it

    ids = np.asarray(vocabulary)
    if len(set(vocabulary)) < len(vocabulary) or min([start, *vocabulary]) < 0:
        raise ValueError(
            "adapter: vocabulary must name a different id, at least 0, for each of the world's tokens, and start one "
            f"at least 0, but they are {list(vocabulary)} and {start}"
        )

    def member(model: Any) -> Callable[[np.ndarray], np.ndarray]:
        def said(tokens: np.ndarray) -> np.ndarray:
            past = np.concatenate([np.full((len(tokens), 1), start), ids[tokens[:, :-1]]], 1)
            device = next(iter(model.parameters())).device
            with torch.no_grad():
                out = model(torch.as_tensor(past, dtype=torch.long, device=device))
            logits = getattr(out, "logits", out).double().cpu().numpy()
            if logits.shape[:2] != tokens.shape or logits.shape[2] <= ids.max():
                raise ValueError(
                    f"adapter: logits must have the shape [{len(tokens)}, {tokens.shape[1]}, more than {ids.max()}], "
                    f"but have {list(logits.shape)}"
                )
            return logits[..., ids]

        return said

    return callables(*[member(model.eval()) for model in models])


def pretrained(*folders: str, start: int, vocabulary: Sequence[int]) -> Predict:
    """Hugging Face causal models from folders on this machine, as members; nothing is downloaded.

    Args:
      folders: where `save_pretrained` wrote them.
      start: as in `torch_causal`.
      vocabulary: as in `torch_causal`.
    """
    from transformers import AutoModelForCausalLM  # pyright: ignore[reportMissingImports]  # the extra `torch`

    found = [AutoModelForCausalLM.from_pretrained(folder, local_files_only=True) for folder in folders]
    return torch_causal(*found, start=start, vocabulary=vocabulary)


def _normalised(logs: Float[np.ndarray, "*rows vocab"]) -> Float[np.ndarray, "*rows vocab"]:
    """Log probabilities from logits; a row that holds everything impossible stays so."""
    total = scipy.special.logsumexp(logs, axis=-1, keepdims=True)
    return np.where(total > -np.inf, logs - np.where(total > -np.inf, total, 0), -np.inf)
