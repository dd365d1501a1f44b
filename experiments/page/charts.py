"""The page's charts as Vega-Lite specifications: what is drawn, without its data, colours and sizes.

page.js gives each of them its rows (the named data), the colours of the reader's scheme, and the room there is. Fields
that it adds to every row: label (the run), group (what colour, dash and mark say) and panel.
"""

import functools
from typing import Any

import altair as alt

from experiments.ledger import LAYERS

SCALE = alt.Scale(type="symlog")  # or linear: the reader chooses; page.js says how far symlog is linear
OVER = "nats per token over the world's own loss"
COLOUR = alt.Color("group:N", legend=None)
DASH = alt.StrokeDash("group:N", legend=None)
MARK = alt.Shape("group:N", legend=None)
OPAQUE = alt.when("chosen === null || datum.run === chosen").then(alt.value(1)).otherwise(alt.value(0.12))
FAINT = alt.when("chosen === null || datum.run === chosen").then(alt.value(0.16)).otherwise(alt.value(0.02))
RIGHT: Any = alt.value("width")  # where what stands beside a panel begins


@functools.cache
def charts() -> dict[str, dict[str, Any]]:
    """Every chart by the name of its place in the page and of its data."""
    drawn = {
        "ladders": _ladders(),
        "lengths": _lengths(),
        "positions": _curve("positions", "position in the sequence, tokens", "log"),
        "training": _curve("training", "step of training", "linear"),
        "protocols": _protocols(),
    }
    return {name: _finished(chart) for name, chart in drawn.items()} | {
        "intervals": _finished(_intervals()),
        "phase": _finished(_phase()),
    }


def _finished(chart: Any) -> dict[str, Any]:
    chosen = alt.param(name="chosen", value=None)
    found = chart.add_params(chosen).to_dict()
    found.pop("config", None)  # page.js has the looks
    return found


def _ladders() -> alt.FacetChart:
    """A panel for each run: bars are gaps, hollow where they are surpluses; brackets, lines, seeds, words beside."""
    rows = alt.Chart().transform_filter("datum.kind === 'rung'")
    layer = alt.Y("layer:N", sort=list(LAYERS), title=None, scale=alt.Scale(domain=list(LAYERS)))
    said = [alt.Tooltip(x) for x in ("label:N", "layer:N", "text:N", "range:N", "class:N")]
    across = alt.X("end:Q", scale=SCALE, title=None)
    bars = rows.transform_filter("isValid(datum.end) && isValid(datum.start)").mark_bar(size=11)
    hollow = alt.when("datum.surplus").then(alt.value(0)).otherwise(alt.value(0.5))
    dashed = alt.when("datum.surplus").then(alt.value([3, 2])).otherwise(alt.value([1, 0]))
    inner = rows.transform_filter("isValid(datum.low) && isValid(datum.high) && datum.high > datum.low")
    bracket = inner.transform_filter("datum.layer === 'I'").mark_text(fontSize=15, fontWeight="bold", baseline="middle")
    seeds = alt.Chart().transform_filter("datum.kind === 'seed' && isValid(datum.end)")
    beside = rows.mark_text(align="left", baseline="middle")
    return _faceted(
        "ladders",
        "label",
        bars.encode(
            x=across,
            x2="start:Q",
            y=layer,
            color=COLOUR,
            stroke=alt.Stroke("group:N", legend=None),
            fillOpacity=hollow,
            strokeDash=dashed,
            opacity=OPAQUE,
            tooltip=said,
        ),
        inner.mark_rule(strokeWidth=1.5).encode(x=alt.X("low:Q", scale=SCALE), x2="high:Q", y=layer, tooltip=said),
        bracket.encode(x=alt.X("low:Q", scale=SCALE), y=layer, text=alt.value("["), tooltip=said),
        bracket.encode(x=alt.X("high:Q", scale=SCALE), y=layer, text=alt.value("]"), tooltip=said),
        seeds.mark_point(filled=False, size=20, yOffset=9, strokeWidth=1).encode(
            x=across, y=layer, color=COLOUR, tooltip=[alt.Tooltip(x) for x in ("label:N", "seed:Q", "text:N")]
        ),
        beside.mark_text(align="left", dx=10, dy=-5, baseline="middle").encode(x=RIGHT, y=layer, text="beside:N"),
        beside.mark_text(align="left", dx=10, dy=7, baseline="middle", fontSize=9).encode(
            x=RIGHT, y=layer, text="range:N"
        ),
    )


def _lengths() -> alt.FacetChart:
    """An excess against length: mean, interval and seeds; words above where it is infinite or undefined."""
    means = alt.Chart().transform_filter("datum.kind === 'mean'")
    times = alt.Axis(labelExpr="format(datum.value, '~g') + '\N{MULTIPLICATION SIGN}'", grid=False)
    across = alt.X("multiple:Q", scale=alt.Scale(type="log", base=2, nice=False), axis=times)
    across = across.title("length, as a multiple of the trained length")
    said = [alt.Tooltip(x) for x in ("label:N", "what:N", "multiple:Q", "text:N", "low:Q", "high:Q")]
    seeds = alt.Chart().transform_filter("datum.kind === 'seed'")
    word = alt.when("isValid(datum.mean)").then(alt.value("")).otherwise("text:N")
    return _faceted(
        "lengths",
        "panel",
        *_banded(means, across, f"{OVER}", said),
        means.transform_filter("isValid(datum.mean)")
        .mark_point(filled=True, size=45, opacity=1)
        .encode(
            x=across,
            y=alt.Y("mean:Q", scale=SCALE),
            color=COLOUR,
            shape=MARK,
            detail="run:N",
            opacity=OPAQUE,
            tooltip=said,
        ),
        seeds.mark_point(filled=False, size=22, strokeWidth=1, xOffset=7).encode(
            x=across,
            y=alt.Y("mean:Q", scale=SCALE),
            color=COLOUR,
            shape=MARK,
            opacity=OPAQUE,
            tooltip=[alt.Tooltip(x) for x in ("label:N", "seed:Q", "multiple:Q", "text:N")],
        ),
        means.mark_text(baseline="top", fontSize=12).encode(
            x=across, y=alt.value(2), text=word, color=COLOUR, opacity=OPAQUE, tooltip=said
        ),
    )


def _curve(name: str, across: str, kind: Any) -> alt.FacetChart:
    """An excess along positions or steps: mean over seeds, and the least and the largest seed."""
    rows = alt.Chart().transform_filter("datum.kind !== 'trained'")
    x = alt.X("at:Q", title=across, scale=alt.Scale(type=kind, nice=False), axis=alt.Axis(grid=False))
    said = [alt.Tooltip(f"{x}:{'N' if x == 'label' else 'Q'}") for x in ("label", "at", "mean", "low", "high")]
    layers = _banded(rows, x, OVER, said)
    if name == "positions":
        trained = alt.Chart().transform_filter("datum.kind === 'trained'").mark_rule(strokeDash=[2, 3], strokeWidth=1)
        layers += (trained.encode(x=x, tooltip=[alt.Tooltip("at:Q", title="trained length")]),)
    return _faceted(name, "panel", *layers)


def _banded(rows: alt.Chart, across: alt.X, title: str, said: list[alt.Tooltip]) -> tuple[alt.Chart, alt.Chart]:
    """A line and its band."""
    up = alt.Y("mean:Q", scale=SCALE, title=title)
    band = rows.mark_area(line=False, invalid="break-paths-show-domains").encode(
        x=across, y=alt.Y("low:Q", scale=SCALE, title=title), y2="high:Q", color=COLOUR, detail="run:N", opacity=FAINT
    )
    line = rows.mark_line(strokeWidth=1.8, invalid="break-paths-show-domains").encode(
        x=across, y=up, color=COLOUR, strokeDash=DASH, detail="run:N", opacity=OPAQUE, tooltip=said
    )
    return band, line


def _protocols() -> alt.FacetChart:
    """A panel for each protocol: its score, interval and ceiling against the exact excess of the same weights."""
    rows, excess = alt.Chart(), alt.X("excess:Q", scale=SCALE, title="exact: R \N{MINUS SIGN} D, nats per token")
    score = alt.Y("score:Q", title="score", scale=alt.Scale(zero=False))
    said = [
        alt.Tooltip(f"{x}:{'N' if x in ('label', 'protocol') else 'Q'}")
        for x in ("label", "protocol", "excess", "score", "low", "high", "expected", "ceiling", "world")
    ]
    chart = _faceted(
        "protocols",
        "protocol",
        rows.mark_rule(strokeWidth=1.2).encode(
            x=excess, y=alt.Y("low:Q", title="score"), y2="high:Q", color=COLOUR, opacity=OPAQUE
        ),
        rows.mark_tick(thickness=1.5, width=9, orient="horizontal").encode(
            x=excess, y=alt.Y("ceiling:Q", title="score"), opacity=OPAQUE, tooltip=said
        ),
        rows.mark_point(filled=True, size=45).encode(
            x=excess, y=score, color=COLOUR, shape=MARK, opacity=OPAQUE, tooltip=said
        ),
    )
    return chart.resolve_scale(y="independent")


def _faceted(data: str, field: str, *layers: alt.Chart) -> alt.FacetChart:
    header = alt.Header(title=None, labelAnchor="start", labelLimit=0)
    facet = alt.Facet(f"{field}:N", sort=None, header=header)
    return alt.layer(*layers, data=alt.NamedData(name=data)).facet(facet, columns=1)


def _intervals() -> Any:
    """What a study found: a value with its interval on each line."""
    rows = alt.Chart(alt.NamedData(name="intervals"))
    line = alt.Y("line:N", sort=None, title=None, axis=alt.Axis(labelLimit=420))
    said = [
        alt.Tooltip(f"{x}:{'N' if x in ('line', 'note') else 'Q'}") for x in ("line", "value", "low", "high", "note")
    ]
    across = alt.X("value:Q", title=None, scale=SCALE)
    known = rows.transform_filter("isValid(datum.low) && isValid(datum.high)")
    zero = (
        alt.Chart(alt.NamedData(name="zero"))
        .mark_rule(strokeWidth=1, strokeDash=[2, 3])
        .encode(x=alt.X("value:Q", title=None))
    )
    return alt.layer(
        zero,
        known.mark_rule(strokeWidth=1.8).encode(
            x=alt.X("low:Q", scale=SCALE, title=None), x2="high:Q", y=line, tooltip=said
        ),
        rows.mark_point(filled=True, size=50, opacity=1).encode(x=across, y=line, tooltip=said),
    )


def _phase() -> Any:
    """The phase diagram: a tile for each world, the concept that it needs and the one that training prefers."""
    across = alt.X("rate:O", title="rate of the decaying reads", sort=None, axis=alt.Axis(labelAngle=0))
    up = alt.Y("share:O", title="share of the one lag", sort=None).scale(reverse=True)
    said = [alt.Tooltip(x) for x in ("share:N", "rate:N", "group:N", "margin:N", "agree:N")]
    rows = alt.Chart()
    return _faceted(
        "phase",
        "judge",
        rows.mark_rect(opacity=0.55).encode(x=across, y=up, color=COLOUR, tooltip=said),
        rows.mark_text(baseline="bottom").encode(x=across, y=up, text="said:N", tooltip=said),
        rows.mark_text(baseline="top", fontSize=9).encode(x=across, y=up, text="margin:N", tooltip=said),
    )
