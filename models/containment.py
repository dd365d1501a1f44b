"""Which architectures provably lie inside which concepts: there, and only there, I >= P is a theorem.

Nothing is claimed by default. A transformer with a feed-forward layer after position-biased attention, in particular,
is not contained in the concept it is named after: what it reads with decaying weights it can decode again.
"""

from typing import Any

from flax import nnx

from models.perception.information import Everything, Information, _Bag, _Window
from models.perception.mixture import Absolute, Mixture, offset
from models.perception.profiles import Family, Geometric
from models.position.decay import ALiBi, NoPE
from models.position.kernels import HardALiBi, Window
from models.positional import Positional
from models.transformer import Transformer


def contained(spec: Any, concept: Any) -> str:
    """The proof that every setting of the weights is a predictor that the concept allows, in one sentence; else "".

    Args:
      spec: of a network.
      concept: of models/perception.
    """
    if isinstance(concept, Everything):
        return "every network is a function of the past, and this concept allows them all"
    if isinstance(spec, Positional) and isinstance(concept, Mixture):
        return _mixture(spec, concept)
    if isinstance(spec, Positional) and isinstance(concept, Absolute):
        return _absolute(spec, concept)
    if isinstance(spec, Transformer) and isinstance(concept, Information):
        return _information(spec, concept)
    return ""


def _mixture(spec: Positional, concept: Mixture) -> str:
    """Heads softmax(-m g + b [start symbol]) are the profiles `Geometric(m, tau)`, with tau in [0, inf] for b in R.

    alpha[t, start] = e^(b - m t) / (e^(b - m t) + sum_{g <= t} e^(-m (g-1))), the share that `Geometric` gives its
    start symbol at c = e^b; b = -inf is tau = 0, and b = inf, always the start symbol, is their limit.
    """
    slopes = _slopes(spec)
    if slopes is None or not all(any(_holds(family, m) for family in concept.dictionary) for m in slopes):
        return ""
    return (
        "position-only attention mixes at most so many profiles as it has heads, with a probability read-out, and "
        f"each of them, e^(-m g) with a start symbol of any weight, is in the dictionary of {concept.name}"
    )


def _slopes(spec: Positional) -> tuple[float | None, ...] | None:
    """The slope of each head, None for one that is learned; None at all if the heads are no exponentials."""
    if isinstance(spec.scheme, NoPE):
        return (0.0,)
    if isinstance(spec.scheme, ALiBi):
        return (None,) if spec.scheme.learned else spec.scheme.numbers(spec.heads, spec.length)
    return None


def _holds(family: Family, slope: float | None) -> bool:
    """Whether a family has all starts, and the slope asked for (any slope, if None)."""
    if not isinstance(family, Geometric) or family.starts is not None:
        return False
    return family.slopes is None or slope in family.slopes


def _absolute(spec: Positional, concept: Absolute) -> str:
    """M_{t,s} = sum_h alpha_h[t, s] w_h K_h: any reads by position alone are maps of every position's own.

    Only up to the trained length, unless the declared extension holds the network too.
    """
    if _position(spec).clock is not None or (concept.extension is not None and not _mixture(spec, offset())):
        return ""
    return "what position-only attention reads depends on positions alone, and every position may read in its own way"


def _information(spec: Transformer, concept: Information) -> str:
    return _bag_and_last(spec, concept) or _windows(spec, concept)


def _bag_and_last(spec: Transformer, concept: Information) -> str:
    """One layer of attention without positions sees the last input and the multiset of all.

    Scores and values depend on the symbols alone, and the size of the bag, which is the time, on nothing else.
    """
    orderless = isinstance(spec.scheme, NoPE) and spec.mixer == "attention" and spec.convolution == 0
    if concept.feature != _Bag(True) or not orderless or spec.layers > 1:
        return ""
    return "one layer of attention without positions is a function of the last token and the bag of all before it"


def _windows(spec: Transformer, concept: Information) -> str:
    """Windows: the receptive field of L layers that read w inputs each is L (w - 1) + 1 inputs.

    Where the start symbol shows in it, fewer tokens than the window holds have been seen, which the window shows too.
    """
    if not isinstance(concept.feature, _Window):
        return ""
    per_layer = _window(spec)
    if per_layer is None:
        return ""
    field = spec.layers * (per_layer - 1 + max(spec.convolution - 1, 0)) + 1
    if field > concept.feature.last or (_knows_time(spec) and not concept.aware):
        return ""
    return f"{spec.layers} layers that read {per_layer} inputs each see the last {field} tokens and no others"


def _window(spec: Transformer) -> int | None:
    """Inputs that one mixer reads; None if it has no bound."""
    if _position(spec).clock is not None:
        return None
    if spec.mixer == "none":
        return 1
    if spec.mixer in ("convolution", "mlp"):
        return spec.taps
    if spec.mixer == "attention" and isinstance(spec.scheme, Window):
        return spec.scheme.width
    if spec.mixer == "attention" and isinstance(spec.scheme, HardALiBi) and spec.scheme.free == 0:
        return max(spec.scheme.widths or range(1, spec.heads + 1))
    return None


def _knows_time(spec: Transformer) -> bool:
    """Whether anything but the tokens read depends on the position."""
    return _position(spec).embedding is not None or spec.temperature == "scalable"


def _position(spec: Any) -> Any:
    return nnx.eval_shape(lambda: spec.scheme(spec.size, nnx.Rngs(0)))
