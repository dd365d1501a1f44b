"""The members that the laws are tested over: a new member is one new row."""

from experiments.observe import accuracy, windows
from models.position import ALiBi, Learned, NoPE, RoPE, Sinusoidal
from models.transformer import Transformer
from worlds import automata, base, generalised, hmm

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


WORLDS: dict[str, base.World] = {
    "coin": hmm.coin(0.3),
    "golden_mean": hmm.golden_mean(0.5),
    "even": hmm.even(0.4),
    "z1r": hmm.z1r(0.5),
    "rrxor": hmm.rrxor(0.5, 0.3),
    "sns": hmm.sns(0.3, 0.6),
    "mess3": hmm.mess3(0.15, 0.6),
    "mess3, sharp": hmm.mess3(0.02, 0.95),
    "random_hmm": hmm.random_hmm(4, 3, 0.5, seed=0),
    "flip_flop": automata.flip_flop(0.8),
    "flip_flop, stationary": automata.flip_flop(0.1, "stationary"),
    "dyck_bounded": automata.dyck_bounded(1, 3, 0.5, 0.5),
    "dyck_bounded, endless": automata.dyck_bounded(2, 2, 0.4, 0, "stationary"),
    "tom_quantum": generalised.tom_quantum(1.0, 1.0),
    "tom_quantum, unsharp": generalised.tom_quantum(1.0, 3.0),
    "fanizza": generalised.fanizza(2000.0, 0.49),
    "post_quantum": generalised.post_quantum(2.718281828459045, 0.5),
}
NUMERIC = {  # worlds built from real numbers alone: the constructor, and several choices of its numbers
    "coin": (hmm.coin, (0.3,), (0.6,)),
    "golden_mean": (hmm.golden_mean, (0.3,), (0.6,)),
    "even": (hmm.even, (0.3,), (0.6,)),
    "z1r": (hmm.z1r, (0.3,), (0.6,)),
    "rrxor": (hmm.rrxor, (0.3, 0.5), (0.6, 0.1)),
    "sns": (hmm.sns, (0.3, 0.5), (0.6, 0.1)),
    "mess3": (hmm.mess3, (0.05, 0.85), (0.15, 0.6), (0.4, 0.1)),
    "flip_flop": (automata.flip_flop, (0.8,), (0.1,)),
    "dyck_bounded": (lambda p, q: automata.dyck_bounded(1, 3, p, q), (0.5, 0.5), (0.2, 0.9)),
    "tom_quantum": (generalised.tom_quantum, (1.0, 1.0), (1.0, 3.0)),
    "fanizza": (generalised.fanizza, (2000.0, 0.49), (1.0, 0.3)),
    "post_quantum": (generalised.post_quantum, (2.0, 0.5), (3.0, 1.0)),
}
CUBIC: set[str] = set()  # worlds whose filter costs the cube of the length are scored on fewer tokens
