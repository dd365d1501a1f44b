"""Other people's models as predictors."""

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.observe.adapter import callables, predictors, torch_causal
from tests.experiments.observe.test_windows import KEY, LENGTH, MOVING, PROTOCOLS, look_up, members, tables
from worlds.quantity import exact


def test_any_callable_scores_as_the_members_do():
    table = tables("moving")[0]
    known = PROTOCOLS["heldout"].observe(members([table]), MOVING, LENGTH, exact(1.0), exact(1.0), KEY)
    shifted = callables(lambda tokens: look_up(table, tokens) + 3.0)  # logits, not normalised
    found = PROTOCOLS["heldout"].observe(shifted, MOVING, LENGTH, exact(1.0), exact(1.0), KEY)
    assert found.score.value == pytest.approx(known.score.value, abs=1e-12)


def test_functions_of_one_sequence_are_mapped():
    flat = lambda tokens: jnp.full((len(tokens), 3), -jnp.log(3.0))  # noqa: E731
    found = PROTOCOLS["heldout"].observe(predictors(flat, flat), MOVING, LENGTH, exact(1.0), exact(1.0), KEY)
    assert found.scores == pytest.approx([np.log(3)] * 2, abs=1e-12)


class Tensor(np.ndarray):
    """As much of PyTorch's as the adapter uses."""

    double = cpu = lambda self: self
    numpy = lambda self: np.asarray(self)  # noqa: E731


def test_a_causal_model_is_asked_for_the_worlds_tokens_after_its_start(monkeypatch):
    """A model of eleven ids, whose logits at a place are a table's row of the id that stands there."""
    torch = SimpleNamespace(no_grad=nullcontext, as_tensor=lambda ids, **_: ids, long=None, Tensor=Tensor)
    monkeypatch.setitem(sys.modules, "torch", torch)
    rows = np.random.Generator(np.random.PCG64(0)).normal(size=(11, 11))

    class Bigram:
        eval = lambda self: self  # noqa: E731
        parameters = lambda self: [SimpleNamespace(device="cpu")]  # noqa: E731
        __call__ = lambda self, ids: SimpleNamespace(logits=rows[ids].view(Tensor))  # noqa: E731

    ids = [7, 2, 5]
    said = torch_causal(Bigram(), start=9, vocabulary=ids)(jnp.array([[0, 2, 1], [1, 1, 0]]))
    expected = rows[np.array([[9, 7, 5], [9, 2, 2]])][..., ids]
    expected = expected - np.log(np.exp(expected).sum(-1, keepdims=True))
    np.testing.assert_allclose(said[0], expected, atol=1e-12)


def test_a_hugging_face_model_with_random_weights_is_scored():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=15)
    model = transformers.GPT2LMHeadModel(config)
    predict = torch_causal(model, start=15, vocabulary=[0, 1, 2])
    found = PROTOCOLS["heldout"].observe(predict, MOVING, LENGTH, exact(1.0), exact(1.0), KEY)
    assert found.ceiling.value < found.expected.value < np.log(3) + 0.5
