"""Other people's models as predictors."""

import sys
from contextlib import nullcontext
from functools import cache
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.observe.adapter import callables, predictors, pretrained, torch_causal
from tests.experiments.observe.test_windows import (
    KEY,
    LENGTH,
    MOVING,
    PROTOCOLS,
    everything,
    look_up,
    members,
    tables,
)
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


def test_a_vocabulary_that_a_model_lacks_is_refused(monkeypatch):
    torch = SimpleNamespace(no_grad=nullcontext, as_tensor=lambda ids, **_: ids, long=None)
    monkeypatch.setitem(sys.modules, "torch", torch)
    with pytest.raises(ValueError, match="must name a different id"):
        torch_causal(start=0, vocabulary=[1, 1])

    class Short:
        eval = lambda self: self  # noqa: E731
        parameters = lambda self: [SimpleNamespace(device="cpu")]  # noqa: E731
        __call__ = lambda self, ids: np.zeros((*ids.shape, 3)).view(Tensor)  # noqa: E731

    with pytest.raises(ValueError, match="more than 7"):
        torch_causal(Short(), start=0, vocabulary=[1, 7])(jnp.zeros((2, 3), int))


@cache
def gpt2():
    """A tiny one with random weights, made from a configuration: nothing is downloaded."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = dict(vocab_size=16, n_positions=8, n_embd=8, n_layer=2, n_head=2, bos_token_id=15, initializer_range=0.6)
    return torch, transformers, transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))


def test_a_hugging_face_model_says_through_the_adapter_what_it_says_itself():
    """Sequence by sequence, in float64: softmax over the three ids of its logits after the start and the past."""
    torch, _, model = gpt2()
    tokens = np.array([[0, 2, 1, 1], [2, 2, 0, 1]])
    said = torch_causal(model, start=15, vocabulary=[4, 0, 9])(jnp.asarray(tokens))
    ids = np.array([4, 0, 9])
    for row, word in enumerate(tokens):
        for t in range(4):
            past = torch.tensor([[15, *ids[word[:t]].tolist()]])
            logits = model.eval()(past).logits[0, -1].double()[ids.tolist()]
            np.testing.assert_allclose(said[0, row, t], torch.log_softmax(logits, -1).detach().numpy(), atol=1e-5)


def test_a_hugging_face_model_is_scored_against_the_truth():
    """Random weights, measured by the protocol's enumeration and by a plain sum over all words."""
    _, _, model = gpt2()
    predict = torch_causal(model, start=15, vocabulary=[0, 1, 2])
    found = PROTOCOLS["heldout"].observe(predict, MOVING, LENGTH, exact(1.0), exact(1.0), KEY)
    words, chances = everything(MOVING, LENGTH)
    logs = np.take_along_axis(predict(jnp.asarray(words))[0], words[..., None], -1)[..., 0]
    assert found.expected.value == pytest.approx(-chances @ logs.mean(-1), abs=1e-9)
    assert found.ceiling.value < found.expected.value


def test_a_folder_with_weights_is_read(tmp_path):
    _, _, model = gpt2()
    model.save_pretrained(tmp_path)
    tokens = jnp.array([[0, 2, 1]])
    read = pretrained(str(tmp_path), start=15, vocabulary=[0, 1, 2])(tokens)
    np.testing.assert_allclose(read, torch_causal(model, start=15, vocabulary=[0, 1, 2])(tokens), atol=1e-6)
