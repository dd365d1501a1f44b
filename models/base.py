"""Predictors, and Flax architectures as pure functions, so that JAX may map and scan them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

Predictor = Callable[[Int[Array, "time"]], Float[Array, "time vocab"]]
"""tokens [time] -> log probabilities [time, vocab], nats; row t is what it says of token t from the tokens before t."""


class Network(NamedTuple):
    """init: key -> params.   apply: (params, tokens [time]) -> log probabilities [time, vocab]."""

    init: Callable[[Any], Any]
    apply: Callable[[Any, Any], Any]


def pure(build: Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """Splits a module into its static graph and its parameters, once and for all."""
    abstract = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    graph, _, rest = nnx.split(abstract, nnx.Param, ...)
    if jax.tree.leaves(rest):
        raise ValueError(f"network: it may hold parameters only, but {build} also holds {rest}")
    return Network(
        init=lambda key: nnx.state(build(nnx.Rngs(key)), nnx.Param),
        apply=lambda params, tokens: nnx.merge(graph, params)(tokens),
    )


def predictor(network: Network, params: Any) -> Predictor:
    """A network with its weights, as a predictor."""
    return lambda tokens: network.apply(params, tokens)
