"""The members that the laws are tested over: a new member is one new row."""

from experiments.observe import accuracy, windows
from models import perception
from models.position import (
    FIRE,
    GGD,
    KERPLE,
    NTK,
    T5,
    ALiBi,
    CoPE,
    FoX,
    FreeTable,
    HardALiBi,
    Interpolated,
    Learned,
    NoPE,
    PowerLaw,
    Randomised,
    RoPE,
    Sandwich,
    Sinusoidal,
    Window,
    XPos,
    YaRN,
)
from models.positional import Positional
from models.transformer import Transformer
from worlds import (
    automata,
    base,
    combinators,
    decay,
    dyck,
    generalised,
    grammar,
    hmm,
    in_context,
    kernel,
    match,
    positional,
    recall,
    reset,
    table,
    urn,
)

SCHEMES = {
    "nope": NoPE(),
    "alibi": ALiBi(),
    "alibi matched": ALiBi("matched"),
    "alibi given": ALiBi([0.5, 0.0]),
    "alibi learned": ALiBi(learned=True),
    "hard_alibi": HardALiBi(),
    "kerple_log": KERPLE("log"),
    "kerple_power": KERPLE("power"),
    "ggd": GGD(),
    "ggd fixed": GGD(shape=2.0, location=3.0, learned=False),
    "sandwich": Sandwich(waves=16),
    "window": Window(3),
    "fire": FIRE(threshold=4.0),
    "power law": PowerLaw(1.5),
    "t5": T5(buckets=8, distance=16),
    "free_table": FreeTable(),
    "free_table, extended": FreeTable("last"),
    "fox": FoX(),
    "fox bias_only": FoX("bias_only"),
    "fox fixed": FoX("fixed"),
    "cope": CoPE(positions=6),
    "rope": RoPE(),
    "rope partial": RoPE(base=130.0, fraction=0.5),
    "xpos": XPos(),
    "rope interpolated": Interpolated(RoPE()),
    "alibi interpolated": Interpolated(ALiBi()),
    "ntk": NTK(),
    "yarn": YaRN(),
    "sinusoidal": Sinusoidal(),
    "learned": Learned(),
    "randomised": Randomised(RoPE(), longest=48),
    "randomised learned": Randomised(Learned(), longest=48),
}

SMALL = dict(vocab=3, length=12, layers=1, heads=2, width=8)
BARE = SMALL | dict(feed_forward="none", norm="none")  # small programs, for what does not depend on the rest

NETWORKS = (
    {f"scheme {name}": Transformer(**BARE, scheme=scheme) for name, scheme in SCHEMES.items()}
    | {
        f"mixer {mixer}": Transformer(**BARE, scheme=RoPE(), mixer=mixer)
        for mixer in ("retention", "gated_linear", "gru", "lstm", "convolution", "mlp", "none")
    }
    | {
        "transformer": Transformer(**(SMALL | {"layers": 2}), scheme=ALiBi(learned=True, shared=False)),
        "transformer, layer norm, gated": Transformer(**SMALL, scheme=RoPE(), norm="layer", feed_forward="gated"),
        "transformer, no layers": Transformer(**(BARE | {"layers": 0}), scheme=Sinusoidal()),
        "transformer, hot, convolved": Transformer(**BARE, scheme=NoPE(), temperature="scalable", convolution=3),
        "transformer, onehot": Transformer(**BARE, scheme=NoPE(), embedding="onehot", readout="probability"),
        "gru, sinusoidal": Transformer(**BARE, scheme=Sinusoidal(), mixer="gru"),
        "positional": Positional(3, 12, ALiBi(learned=True), 2),
        "positional, free": Positional(3, 12, FreeTable(), 2),
    }
)

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
    "decay": decay.decay(3, kernel.geometric(0.6), table.dirichlet),
    "decay, sink": decay.decay(2, kernel.geometric(0.6), table.identity, early="sink"),
    "decay, endless buffer": decay.decay(3, kernel.power(1.5), table.dirichlet, noise=0.1, early="sink"),
    "decay, loglinear": decay.decay(3, kernel.table([1, 0, 2]), table.dirichlet, readout="loglinear"),
    "decay_heads": decay.decay_heads(
        3,
        {
            "near": decay.head(kernel.geometric(0.6), table.dirichlet, 0.3),
            "far": decay.head(kernel.offset(2), table.identity, 0.7),
        },
    ),
    "decay, forbidden pairs": decay.decay(2, kernel.offset(1), [[0.5, 0.5], [1.0, 0.0]]),
    "match": match.match(decay.decay(2, kernel.geometric(0.6), table.identity, 0.1), 2),
    "reset": reset.reset(decay.decay(2, kernel.geometric(0.6), table.dirichlet), 0.2),
    "reset, visible": reset.reset(decay.decay(2, kernel.offset(2), [[0.5, 0.5], [1.0, 0.0]]), 0.2, visible=True),
    "periodic": positional.periodic(3, 2, kernel.offset(1), table.dirichlet, stride=2),
    "periodic, table": positional.periodic(3, 3, kernel.geometric(0.6), table.dirichlet, "table"),
    "template": positional.template(3, 4),
    "clock": positional.clock(hmm.golden_mean(0.5), 0.3),
    "dirichlet": urn.dirichlet(3, 0.5),
    "markov_in_context": in_context.markov_in_context(2, 2, 1.0),
    "switching": in_context.switching(3, 0.5, 0.2),
    "unknown_lag": in_context.unknown_lag(3, [1, 2, 4], table.dirichlet),
    "pcfg": grammar.pcfg("S -> T T [0.3] | a [0.3] | S b [0.2] | [0.2]; T -> S [0.6] | b [0.4]", document=64),
    "palindrome": grammar.palindrome((0.2, 0.3), document=64),
    "cfg3": grammar.cfg3(levels=3, symbols=2, rules=2, seed=0),
    "dyck": dyck.dyck(2, 0.4),
    "copy": recall.copy(2, 2),
    "induction": recall.induction(3, 2),
    "recall": recall.recall(2, 2, 0.5, keys=2, values=1),
    "noisy": combinators.noisy(automata.dyck_bounded(1, 2, 0.4, 0.5), 0.1),
    "mixture": combinators.mixture([hmm.mess3(0.15, 0.6), dyck.dyck(1, 0.4)], [0.3, 0.7]),
    "product": combinators.product([hmm.golden_mean(0.5), dyck.dyck(1, 0.4)]),
    "noisy mixture of products": combinators.noisy(
        combinators.mixture(
            [combinators.product([hmm.golden_mean(0.5), hmm.even(0.4)]), hmm.random_hmm(3, 4, 0.5, seed=0)], [0.5, 0.5]
        ),
        0.1,
    ),
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
    "decay": (lambda r, e: decay.decay(3, kernel.geometric(r), table.dirichlet, e), (0.3, 0.1), (0.6, 0.2)),
    "dirichlet": (lambda a: urn.dirichlet(3, a), (0.5,), (2.0,)),
    "markov_in_context": (lambda a: in_context.markov_in_context(2, 2, a), (0.5,), (2.0,)),
    "switching": (lambda a, h: in_context.switching(3, a, h), (0.5, 0.1), (2.0, 0.3)),
    "clock": (lambda p, f: positional.clock(hmm.golden_mean(p), f), (0.5, 0.1), (0.2, 0.3)),
    "dyck": (lambda p: dyck.dyck(2, p), (0.2,), (0.45,)),
    "recall": (lambda gap: recall.recall(2, 2, gap, keys=2, values=1), (0.5,), (2.0,)),
    "noisy": (lambda rate: combinators.noisy(hmm.mess3(0.15, 0.6), rate), (0.1,), (0.9,)),
}
CUBIC = {"reset", "switching"}  # worlds whose filter costs far more than its length are scored on fewer tokens


CONCEPTS: dict[str, perception.Concept] = {
    "unigram": perception.unigram(),
    "order_free": perception.order_free(),
    "decay": perception.decay(),
    "alibi": perception.decay("alibi"),
    "power_decay": perception.power_decay(rates=[0.5, 1.0]),
    "monotone": perception.monotone(),
    "offset": perception.offset(),
    "absolute": perception.absolute(),
    "everything": perception.everything(),
    "window": perception.window(2),
    "window, blind": perception.window(2, aware=False),
    "bag": perception.bag(),
    "bag_and_last": perception.bag_and_last(),
    "match": perception.match(1),
    "gated_decay": perception.gated_decay(),
    "log_linear": perception.log_linear(budget=20.0),
}
