"""What samples of the worlds look like, on one page: python -m experiments.gallery [out=results/worlds/gallery].

Each strip shows a few sequences of one world, a row each, time to the right, a colour for each token. Beside its name:
the size of the vocabulary, and its entropy rate in nats per token (or its certified interval), or where
none is known the floor of so many tokens: the mean exact entropy of the conditionals of these draws, with its
95 % interval.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from hydra import compose
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from jaxtyping import Array, Int, Key
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from experiments import backend
from experiments.cell import Refused
from experiments.entry import command
from experiments.screen import Screen
from experiments.streams import members, stream
from experiments.style import GREY, SMALL, STYLE, TEXT, said, save
from worlds import base
from worlds.base import Functional, World
from worlds.quantity import Quantity

FAMILIES = {  # heading: the modules under worlds/; any other world comes last, under the name of its module
    "Finite state": ("hmm", "automata", "given"),
    "Generalised finite state": ("generalised",),
    "Decaying attention": ("decay", "match", "reset"),
    "Positional": ("positional",),
    "Learnt in context": ("urn", "in_context"),
    "Grammars": ("grammar", "dyck"),
    "Recall": ("recall",),
    "Combinators": ("combinators",),
}
DRAWN = 256  # sequences behind an estimated floor, of which the first are shown
# Okabe & Ito's eight by falling contrast to their predecessors, so that few tokens differ in grey too.
TOKENS = ("#F0E442", "#0072B2", "#D55E00", "#56B4E9", "#000000", "#E69F00", "#009E73", "#CC79A7")


@dataclass
class Gallery:
    """Which worlds are drawn, and where the figure goes."""

    out: str = "results/worlds/gallery"  # .pdf and .png are added
    worlds: list[str] | None = None  # names of conf/world; all if null
    sequences: int = 5  # rows of a strip
    length: int = 96  # tokens of a row
    seed: int = 5  # one whose rows show both worlds of the mixture


ConfigStore.instance().store(name="gallery_schema", node=Gallery)


class Strip(NamedTuple):
    """What is drawn of one world."""

    name: str
    family: str
    vocab_size: int
    tokens: Int[np.ndarray, "sequence time"]
    zero: Quantity
    rate: bool  # whether the zero is the entropy rate; otherwise it is the floor of these sequences


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="gallery")
def gallery(cfg: DictConfig) -> None:
    """Names -> worlds -> strips -> one figure."""
    known, screen = choices(), Screen()
    names = list(cfg.worlds or known)
    _check(cfg, names, known)
    strips, untold = [], []
    with screen.task("gallery", len(names)) as report:
        for n, name in enumerate(names):
            node = compose(f"world/{name}").world
            missing = OmegaConf.missing_keys(node)
            untold += [f"{name} ({', '.join(sorted(x.rpartition('.')[2] for x in missing))})"] if missing else []
            strips += [] if missing else [strip(name, node, cfg.sequences, cfg.length, cfg.seed)]
            report(n + 1, name)
    out = Path(cfg.out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save(drawn(strips, untold), out)
    except OSError as error:
        raise Refused(str(error)) from error
    screen.result.print(f"{out}.pdf and .png: {len(strips)} worlds")


def choices() -> list[str]:
    """The names of all worlds that Hydra finds."""
    return sorted(GlobalHydra.instance().config_loader().get_group_options("world"))


def _check(cfg: DictConfig, names: list[str], known: list[str]) -> None:
    for name in ("sequences", "length"):
        if cfg[name] < 1:
            raise Refused(f"gallery: {name} must be at least 1, but is {cfg[name]}")
    for name in names:
        if name not in known:
            raise Refused(f"gallery: worlds must be among {', '.join(known)}, but one is {name!r}")


def strip(name: str, node: DictConfig, sequences: int, length: int, seed: int) -> Strip:
    """Builds a world, draws from it, and finds its zero."""
    try:
        world = instantiate(node, _convert_="all")
    except InstantiationException as error:
        raise Refused(f"{name}: {error.__cause__ or error}") from error
    tokens, floor = drawings(world, stream(seed, "export"), max(DRAWN, sequences), length)
    rate = isinstance(world, base.HasEntropyRate)
    zero = world.entropy_rate() if rate else floor
    return Strip(name, node._target_.split(".")[-2], world.vocab_size, tokens[:sequences], zero, rate)


def drawings(
    world: World, key: Key[Array, ""], count: int, length: int
) -> tuple[Int[np.ndarray, "sequence time"], Quantity]:
    """Sequences, and the floor of their length: the mean entropy of the conditionals that they were drawn from."""
    draw = jax.jit(lambda keys: jax.lax.map(partial(base.sample_with_law, world, length=length), keys, batch_size=64))
    tokens, logs = draw(members(key, 0, count))
    measured = Functional(tokens, jnp.full(count, 1 / count), jnp.full(length, 1 / length), exact=False)
    return np.asarray(tokens), base.estimate(base.entropy(logs).mean(-1), measured)


def drawn(strips: list[Strip], untold: list[str]) -> Figure:
    """The page: strips family by family, down one column and then the other."""
    blocks = [(head, [x for x in strips if x.family in of]) for head, of in FAMILIES.items()]
    told = {module for of in FAMILIES.values() for module in of}
    blocks += [(x, [y for y in strips if y.family == x]) for x in sorted({x.family for x in strips} - told)]
    columns = _columns([(head, part) for head, part in blocks if part])
    height = max(sum(_height(part) for _, part in column) for column in columns) + FOOT
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TEXT, height))
        for left, column in zip((0.0, 0.5), columns, strict=True):
            top = height
            for head, part in column:
                figure.text(left + 0.02, (top - 0.09) / height, head, weight="bold", va="center", size=7)
                top -= HEAD
                for shown in part:
                    place = (left + 0.02, (top - EACH + GAP) / height, 0.46, (EACH - GAP - LABEL) / height)
                    _draw(figure.add_axes(place), shown)
                    top -= EACH
                top -= BELOW
        _key(figure, height, untold)
    return figure


EACH, LABEL, GAP, HEAD, BELOW, FOOT = 0.4, 0.12, 0.04, 0.16, 0.03, 0.36  # heights on the page, inches


def _height(part: list[Strip]) -> float:
    return HEAD + EACH * len(part) + BELOW


def _columns(blocks: list[tuple[str, list[Strip]]]) -> tuple[list, list]:
    """Split between two families, so that the longer column is as short as can be."""
    heights = [_height(part) for _, part in blocks]
    half = min(range(len(blocks) + 1), key=lambda n: (max(sum(heights[:n]), sum(heights[n:])), -n))
    return blocks[:half], blocks[half:]


def _draw(axes: Axes, shown: Strip) -> None:
    rows, time = shown.tokens.shape
    axes.imshow(
        shown.tokens, cmap=_colours(shown.vocab_size), vmin=-0.5, vmax=shown.vocab_size - 0.5, interpolation="none",
        aspect="auto", extent=(0, time, rows, 0),
    )  # fmt: skip
    axes.hlines(np.arange(1, rows), 0, time, color="white", linewidth=0.5)
    axes.set_axis_off()
    axes.text(0, 1.04, shown.name, transform=axes.transAxes, va="bottom", size=6.5)
    aside = f"{shown.vocab_size} tokens, {_zero(shown)}"
    axes.text(1, 1.04, aside, transform=axes.transAxes, va="bottom", ha="right", size=SMALL, color=GREY)


def _zero(shown: Strip) -> str:
    value, low, high = (said(x, sign=False) for x in (shown.zero.value, shown.zero.low, shown.zero.high))
    if shown.rate:
        return f"entropy rate {value}" if low == high else f"entropy rate in [{low}, {high}]"
    return f"floor of {shown.tokens.shape[1]} in [{low}, {high}]"


def _colours(vocab: int) -> Any:
    if vocab <= len(TOKENS):
        return ListedColormap(TOKENS[:vocab])
    return matplotlib.colormaps["cividis"].resampled(vocab)


def _key(figure: Figure, height: float, untold: list[str]) -> None:
    """What the colours are, and the worlds that are not drawn because they ask for something."""
    line = (FOOT - 0.14) / height
    figure.text(0.02, line, "tokens", va="center", size=SMALL, color=GREY)
    for token, colour in enumerate(TOKENS):
        figure.text(0.1 + 0.035 * token, line, "■", va="center", size=7, color=colour)
        figure.text(0.12 + 0.035 * token, line, str(token), va="center", size=SMALL, color=GREY)
    figure.text(0.52, line, "of more than eight: from dark, token 0, to light", va="center", size=SMALL, color=GREY)
    said_of = "nats per token; a row is a sequence, time runs to the right"
    said_of += f"; not drawn, because they ask for a value: {', '.join(untold)}" if untold else ""
    figure.text(0.02, 0.08 / height, said_of, va="center", size=SMALL, color=GREY)


if __name__ == "__main__":
    backend.prepare()
    command(gallery)
