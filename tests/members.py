"""The members that the laws are tested over: a new member is one new row."""

from experiments.observe import accuracy, windows
from models.position import ALiBi, Learned, NoPE, RoPE, Sinusoidal
from models.transformer import Transformer

SCHEMES = {
    "nope": NoPE(),
    "alibi": ALiBi(),
    "alibi matched": ALiBi("matched"),
    "alibi given": ALiBi([0.5, 0.0]),
    "alibi learned": ALiBi(learned=True),
    "rope": RoPE(),
    "rope partial": RoPE(base=130.0, fraction=0.5),
    "sinusoidal": Sinusoidal(),
    "learned": Learned(),
}

SMALL = dict(vocab=3, length=12, layers=1, heads=2, width=8)
BARE = SMALL | dict(feed_forward="none", norm="none")  # small programs, for what does not depend on the rest

NETWORKS = {f"scheme {name}": Transformer(**BARE, scheme=scheme) for name, scheme in SCHEMES.items()} | {
    "transformer": Transformer(**(SMALL | {"layers": 2}), scheme=ALiBi(learned=True, shared=False)),
    "transformer, layer norm": Transformer(**SMALL, scheme=RoPE(), norm="layer"),
    "transformer, no layers": Transformer(**(BARE | {"layers": 0}), scheme=Sinusoidal()),
}

PROTOCOLS = {  # documents so short that they can be enumerated
    "heldout": windows.heldout(64, 2),
    "nonoverlapping": windows.nonoverlapping(64, 2, windows=2, window=3),
    "sliding": windows.sliding(64, 2, windows=3, stride=2, window=3),
    "last_token": windows.last_token(64, 2),
    "per_position": windows.per_position(64, 2),
    "accuracy": accuracy.accuracy(64, 2, windows=2, window=3),
}
