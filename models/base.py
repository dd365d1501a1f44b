"""Predictors, and Flax architectures as pure functions, so that JAX may map and scan them."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

Predictor = Callable[[Int[Array, "time"]], Float[Array, "time vocab"]]
"""tokens [time] -> log probabilities [time, vocab], nats; row t is what it says of token t from the tokens before t."""

Drop = Callable[[int, Array], Array]
"""(number of a component, what it adds to the stream) -> the same with some features dropped. It holds no state."""


class Network(NamedTuple):
    """init: key -> params.   apply: (params, tokens [time]) -> log probabilities [time, vocab].

    residual: (params, tokens [time]) -> residual stream [time, width]; None for a module that is not `Streaming`.
    drops: whether `apply` takes a third argument, how to drop features, because the module's call does.
    """

    init: Callable[[Any], Any]
    apply: Callable[..., Any]
    residual: Callable[[Any, Any], Any] | None
    drops: bool


@runtime_checkable
class Streaming(Protocol):
    """A module that speaks from a residual stream."""

    def residual(self, tokens: Int[Array, "time"]) -> Float[Array, "time width"]:
        """What its read-out reads before it speaks of token t; from the tokens before t."""
        ...


def pure(build: Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """Splits a module into its static graph and its parameters, once and for all."""
    abstract = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    graph, _, rest = nnx.split(abstract, nnx.Param, ...)
    if jax.tree.leaves(rest):
        raise ValueError(f"network: it may hold parameters only, but {build} also holds {rest}")

    def module(params: Any) -> Any:
        return nnx.merge(graph, params)

    return Network(
        init=lambda key: nnx.state(build(nnx.Rngs(key)), nnx.Param),
        apply=lambda params, tokens, *drop: module(params)(tokens, *drop),
        residual=(lambda params, tokens: module(params).residual(tokens)) if isinstance(abstract, Streaming) else None,
        drops="drop" in inspect.signature(type(abstract).__call__).parameters,
    )


def parameters(network: Network) -> int:
    """How many numbers it has to learn."""
    return sum(x.size for x in jax.tree.leaves(jax.eval_shape(network.init, jax.random.key(0))))


def predictor(network: Network, params: Any) -> Predictor:
    """A network with its weights, as a predictor."""
    return lambda tokens: network.apply(params, tokens)
