"""Which layer is to blame: all the rules, read backward from what was observed to the world, on measured gaps alone.

The order of suspicion is O, R, I, P, D, and a rule asks only what the layers before it leave open: an architecture is
never blamed before it was reached, nor a concept before its architecture is settled. A gap is held against the size
that is material, m nats per token (config: diagnose.material), by its interval:

    to blame      the whole interval lies beyond m
    clear         the whole interval lies within m
    suspected     its value lies beyond m, its interval does not
    cannot tell   its value lies within m, its interval does not; or an earlier layer is open

What is attainable is what can be learnt at all: the entropy of single tokens, blind to the past, minus the floor. Each
gap is also given as a share of it. The layer to blame is the first in the order of suspicion with that verdict; but a
concept comes before its training and its architecture where it is known to lose more than these.
"""

from typing import Any, NamedTuple

import numpy as np

from experiments.ledger import number

CLEAR, SUSPECTED, BLAME, OPEN = "clear", "suspected", "to blame", "cannot tell"
NATS = "nats/token"
RESOLVED = 0.1  # an excess that is known to a tenth of itself is clear, however many nats that tenth is


class Gap(NamedTuple):
    """A number with its interval, nats per token."""

    value: float
    low: float
    high: float

    def minus(self, other: "Gap") -> "Gap":
        """The difference, as unpaired intervals."""
        return Gap(self.value - other.value, self.low - other.high, self.high - other.low)

    def sure(self) -> "Gap":
        """The end of the interval that is nearer to zero: what chance does not explain."""
        near = 0.0 if self.low <= 0 <= self.high else self.low if self.low > 0 else self.high
        return Gap(near, near, near)


class Verdict(NamedTuple):
    """On one layer: the verdict, the gaps that were read, the decisive one, and words for a reader."""

    verdict: str
    reads: tuple[str, ...]
    gap: Gap
    why: str
    missing: str = ""  # what would have to be known
    next: tuple[str, ...] = ()  # overrides of the next experiment worth running


def verdicts(ledger: dict[str, Any]) -> dict[str, Verdict]:
    """The verdict on each layer, in the order of suspicion."""
    m = float(ledger["diagnose"]["material"])
    found = {"O": observation(ledger, m), "R": reach(ledger, m)}
    found["I"] = instantiation(ledger, m, found["R"])
    found["P"] = perception(ledger, m, found["R"], found["I"])
    return found | {"D": world(m, attainable(ledger))}


def blamed(found: dict[str, Verdict]) -> str | None:
    """The layer to blame: the first in the order of suspicion, but a concept before what loses less after it."""
    guilty = [layer for layer in "ORIPD" if found[layer].verdict == BLAME]
    after = [found[layer].gap.value for layer in guilty if layer in "RI"]
    if "O" not in guilty and "P" in guilty and max(after, default=0.0) < found["P"].gap.low:
        return "P"
    return guilty[0] if guilty else None


def held(gap: Gap, m: float) -> str:
    """The verdict on a gap of either sign, by its interval."""
    near = 0.0 if gap.low <= 0 <= gap.high else min(abs(gap.low), abs(gap.high))
    if near > m:
        return BLAME
    if max(abs(gap.low), abs(gap.high)) <= m:
        return CLEAR
    return SUSPECTED if abs(gap.value) > m else OPEN


def attainable(ledger: dict[str, Any]) -> Gap:
    """What can be learnt at all: the entropy of single tokens minus the floor, two zeros of one functional."""
    zeros = ledger["zeros"]
    return _gap(zeros["order_0"], "value").minus(_gap(zeros["floor"], "value"))


# O: is the observation wrong?


class Charge(NamedTuple):
    """Against a protocol: one way in which it says something else than the truth of the weights."""

    part: str
    gap: Gap
    why: str
    cure: tuple[str, ...] = ("judged=null", "ledger=heldout", "observe=[heldout]")


def observation(ledger: dict[str, Any], m: float) -> Verdict:
    """The judged protocol: the gravest of the charges against it decides."""
    name, gravity = ledger["judged"], (CLEAR, OPEN, SUSPECTED, BLAME).index
    worst = max(charges(ledger, m), key=lambda charge: (gravity(held(charge.gap, m)), abs(charge.gap.value)))
    verdict = held(worst.gap, m)
    if verdict == CLEAR:
        gap = _gap(ledger["gaps"]["O-R"]) if ledger["protocols"][name]["unit"] == NATS else worst.gap
        why = f"{name} says what is true of these weights, to {abs(worst.gap.value):.2g} nats"
        return Verdict(CLEAR, ("O-R",), gap, why)
    missing = "" if verdict == BLAME else "a sample, or an exact target, that closes this interval"
    return Verdict(verdict, (f"O-R, {worst.part}",), worst.gap, f"{name}: {worst.why}", missing, worst.cure)


def charges(ledger: dict[str, Any], m: float) -> list[Charge]:
    """Against the judged protocol."""
    name = ledger["judged"]
    seen = ledger["protocols"][name]
    return _nats(seen, name, m) if seen["unit"] == NATS else _other(seen, attainable(ledger).value)


def _nats(seen: dict[str, Any], name: str, m: float) -> list[Charge]:
    """Against a protocol in nats. Luck that neither chance explains nor the truth shares is knowledge of the sample."""
    score, due, best, truth = (_gap(seen[k], "value") for k in ("score", "expected", "ceiling", "world"))
    parts = {k: _gap(entry, "value") for k, entry in seen["parts"].items()}
    drawn, width = truth.minus(best), (score.high - score.low) / 2
    unclear = width if width > RESOLVED * (score.value - best.value) else 0.0
    known = score.minus(due).minus(drawn)  # by unpaired intervals: too wide, if anything
    enough = round(seen["score"].get("count", 0) * max(1.0, 2 * width / m) ** 2)  # for half of m
    return [
        Charge("world", parts["world"], f"it asks another question: the truth itself scores {best.value:.4f} in it"),
        Charge("model", parts["model"], "it weighs these weights otherwise than the functional does"),
        Charge("draw", drawn.sure(), "its sample is no draw of the world: the truth scores otherwise than it should"),
        Charge("leak", known.sure(), "these weights, unlike the truth, do otherwise on its sample than on fresh draws"),
        Charge(
            "resolution",
            Gap(unclear, unclear, unclear),
            f"its sample is too small: the score is known to {width:.2g} nats either way",
            (f"observe.{name}.sequences={enough}",),
        ),
    ]


def _other(seen: dict[str, Any], learnable: float) -> list[Charge]:
    """Against a protocol that is not in nats: how many nats hide behind it.

    Between a reader of single tokens and the truth lie all nats that can be learnt; a score in proportion resolves them
    to its own error. Where the truth gains nothing over that reader, or another gains more than the truth, the score
    pays for something else than knowledge.
    """
    score, best, truth, blind = (_gap(seen[k], "value") for k in ("score", "ceiling", "world", "blind"))
    sign, width = (1 if seen["better"] == "larger" else -1), (score.high - score.low) / 2
    gain = sign * (truth.value - blind.value)

    def hidden(points: float) -> Gap:
        nats = learnable * min(1.0, max(points, 0.0) / gain) if gain > 0 else learnable
        return Gap(nats, nats, nats)

    points = f"a reader of single tokens gets {blind.value:.3f} and the truth {truth.value:.3f} {seen['unit']}"
    return [
        Charge(
            "resolution", hidden(width), f"{points}, known to {width:.2g}: what can be learnt hides behind the error"
        ),
        Charge(
            "bias",
            hidden(sign * (best.value - truth.value) - width),
            f"{points}, where {best.value:.3f} can be had without being the truth",
        ),
    ]


# R: has training reached the architecture's best?


def reach(ledger: dict[str, Any], m: float) -> Verdict:
    """Held against the best weights known: what these lose to them is lost for certain, whatever the best may be."""
    gap, over, reads = _gap(ledger["gaps"]["R-I"]), _gap(ledger["gaps"]["R-D"]), ("R-I", "R-D")
    if not np.isfinite(over.value):
        return Verdict(BLAME, reads, over, "a member diverged, or excludes what can come", "", ("reach.rate=1e-3",))
    if over.value <= m:
        return Verdict(CLEAR, reads, over, f"the trained weights are within {over.value:.2g} nats of the world itself")
    paired = Gap(gap.value, gap.low, 2 * gap.value - gap.low)  # to the witness, on the same prefixes
    verdict = held(paired, m)
    if verdict == CLEAR and not ledger["oracle"]["restarts"]:
        why, missing = "no other weights of this architecture were ever sought", "oracle fits: what it can do at best"
        return Verdict(OPEN, reads, gap, why, missing, ("oracle.restarts=4",))
    if verdict == CLEAR:
        why = (
            f"training and oracle fits end within {gap.value:.2g} nats of each other, {over.value:.2g} above the world"
        )
        return Verdict(CLEAR, reads, paired, why)
    why = f"weights are known ({ledger['witness']}) that do {gap.value:.2g} nats better in this architecture"
    missing = "" if verdict == BLAME else "more prefixes (measure.tokens), to close this interval"
    return Verdict(verdict, reads, paired, why, missing, _further(ledger["reach"]))


def _further(asked: dict[str, Any]) -> tuple[str, ...]:
    """What to change in training first: what its config withholds from it, else its duration."""
    withheld = {"sequences": 0, "pool": 0, "corruption": 0, "decay": 0, "dropout": 0, "softness": 0, "curriculum": 0}
    cures = tuple(f"reach.{name}={none}" for name, none in withheld.items() if asked[name] != none)
    return cures or (f"reach.steps={4 * asked['steps']}",)


# I: does the architecture hold the concept?


def instantiation(ledger: dict[str, Any], m: float, reached: Verdict) -> Verdict:
    """Its best known weights against the world, then against the concept; blamed only where it was reached."""
    over, gap, witness, reads = (
        best_known(ledger),
        _gap(ledger["gaps"]["I-P"]),
        ledger["witness"],
        ("I-P", "I-D", "R-I"),
    )
    known = Gap(gap.value, gap.value, gap.value)  # the upper end: what lies below it was sought, and not found
    if over.value <= m:
        why = f"it can hold the world: weights of {witness} are within {over.value:.2g} nats of it"
        return Verdict(CLEAR, reads[1:2], Gap(over.value, over.value, over.value), why)
    if gap.value <= m:
        more = ", and more than it is named after" if gap.value < -m else ""
        return Verdict(CLEAR, reads[:1], known, f"weights of {witness} do all that the concept allows{more}")
    if reached.verdict != CLEAR:
        why = "not reached, so not judged: its best lies below the best weights known, nobody knows how far"
        return Verdict(OPEN, reads, gap, why, "whether training reached its best: settle R first", reached.next)
    why = f"training and oracle fits alike stop {gap.value:.2g} nats above what the concept allows"
    return Verdict(BLAME, reads, known, why, "", _larger(ledger["instantiation"]))


def _larger(part: dict[str, Any]) -> tuple[str, ...]:
    """A reference architecture for the same concept: what it holds, this one could have held."""
    if "layers" not in part:
        return (f"instantiation.heads={2 * part['heads']}",)
    return (f"instantiation.width={2 * part['width']}", f"instantiation.layers={part['layers'] + 1}")


# P: is the concept the truth's?


def perception(ledger: dict[str, Any], m: float, reached: Verdict, carried: Verdict) -> Verdict:
    """What the concept costs even its best reader; blamed only where the architecture is settled."""
    gap, concept, reads = _gap(ledger["gaps"]["P-D"]), ledger["perception"]["name"], ("P-D", "I-P", "R-I")
    following = ("-m", "perception=decay,offset,absolute,everything")
    if np.isnan(gap.value):
        return Verdict(OPEN, reads[:1], gap, f"{concept} says nothing at this length", "an extension rule", following)
    if gap.high <= m:
        return Verdict(CLEAR, reads[:1], gap, f"{concept} can hold this world to {max(gap.high, 0):.2g} nats")
    cost = f"even the best reader that {concept} allows loses {gap.value:.2g} nats"
    if best_known(ledger).value <= m:
        return Verdict(CLEAR, reads[:2], gap, f"{cost}, but the network does more than it is named after")
    for layer, verdict in (("R", reached), ("I", carried)):
        settled = verdict.verdict == BLAME and layer == "I" and verdict.gap.value < gap.low  # it loses less than that
        if verdict.verdict != CLEAR and not settled and not (layer == "R" and ledger["contained"]):
            why = f"{cost}; what the network loses to that reader is open"
            return Verdict(OPEN, reads, gap, why, f"whether {layer} is at fault: settle it first", verdict.next)
    return Verdict(
        held(gap, m), reads, gap, f"{cost}, and the architecture does what the concept allows", "", following
    )


# D: is there anything to learn?


def world(m: float, learnable: Gap) -> Verdict:
    """A world whose past says nothing of the next token is to blame for every poor loss."""
    verdict = {BLAME: CLEAR, CLEAR: BLAME}.get(held(learnable, m), OPEN)
    return Verdict(verdict, ("D",), learnable, f"{learnable.value:.2g} nats can be learnt from the past at all")


def best_known(ledger: dict[str, Any]) -> Gap:
    """I - D: where the best known weights stand, and how far below the best may be."""
    best, floor = ledger["layers"]["I"], ledger["layers"]["D"]
    return Gap(*(number(best[k]) - number(floor[k]) for k in ("loss", "low", "high")))


def _gap(entry: dict[str, Any], value: str = "nats") -> Gap:
    return Gap(*(number(entry[k]) for k in (value, "low", "high")))
