"""The charts, one function each, over rows of ``chart_rows``: on the page, the reader's choice of them.

What is shown is decided where rows are made. Here stands only how they are drawn.
"""

import json
from collections.abc import Callable, Collection
from typing import Any

from ..results.columns import DECLARED
from ..results.statistics import BAND
from ..results.store import some_home

with some_home():
    import altair as alt

__all__ = ["AS", "BY_NAME", "Chart", "alt"]

WIDTH, HEIGHT = 560, 260
LINE = 20  # of a chart in which each target has a line
FACTORS = "sequence(0, 7.01, 0.1)"  # powers of ten, of iterations
# Told apart by the colour-blind too. What is not decided is grey.
COLOURS = {"faster": "#2563eb", "slower": "#d97706", "same": "#0d9488", "not decided": "#9ca3af"}
# Of targets: those of Okabe & Ito 2008 that are seen on white and on black, then the same with other dashes.
TARGETS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#808080")
DASHES = [dash for dash in ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4]) for _ in TARGETS]
AS = {"baseline": "same"} | {name: name for name in list(COLOURS)[:3]}  # of a verdict; of others it is the last
DECIDED = f"{json.dumps(AS)}[datum.verdict] || 'not decided'"
Chart = Any  # one of Altair's many classes of charts, which share no type that can be configured
HOLLOW = alt.OverlayMarkDef(filled=False, size=30)  # so that legends show dashes
LOG = alt.Scale(type="log", nice=False, padding=12)
TIME = "datum.value >= 1 ? format(datum.value, ',') + ' s' : replace(format(datum.value, '.3~s'), /([mµn]?)$/, ' $1s')"


def ratios(data: Any, decided: Collection[str] = COLOURS) -> Chart:
    """Intervals of the ratios against the band in which two targets are the same, with the control below them.

    ``decided`` are the keys of ``COLOURS`` that occur.
    """
    band = alt.Chart().transform_aggregate(rows="count()")
    # Vega leaves out labels of a logarithmic axis, also where its ticks are within a decade and evenly spaced.
    within = "domain('x')[1] / domain('x')[0] < 5 ? format(datum.value, '~g') : datum.label"
    axis = alt.Axis(labelExpr=within, format="~g", tickCount=6)
    speed = alt.X("ratio:Q", scale=LOG, title="speed: more than 1 is faster", axis=axis)
    # One axis for all cases: facets with axes of their own make Vega-Lite warn of what is no mistake.
    target = alt.Y(
        "line:N", sort=None, title=None, axis=alt.Axis(labelExpr="split(datum.label, '\\n')[1]", ticks=False)
    )
    seen = {name: colour for name, colour in COLOURS.items() if name in decided}
    colours = alt.Scale(domain=list(seen), range=list(seen.values()))
    verdict = alt.Color("decided:N", scale=colours, legend=alt.Legend(title=None, orient="bottom"))
    heads = alt.Chart().mark_text(align="left", fontWeight="bold", dx=4, invalid=None)
    layers = alt.layer(
        band.mark_rect(opacity=0.18, color="#0d9488").encode(x=alt.datum(1 / (1 + BAND)), x2=alt.datum(1 + BAND)),
        heads.encode(x=alt.value(0), y=target, text="head:N"),
        alt.Chart().mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", y=target, color=verdict),
        alt.Chart().mark_point(filled=True, size=55).encode(x=speed, y=target, color=verdict, tooltip=_told("ratio")),
        alt.Chart()
        .mark_text(align="left", dx=9, dy=-7)
        .encode(x=speed, y=target, text=alt.Text("ratio:Q", format=".2f")),
        data=data,
    ).properties(width=WIDTH, height=alt.Step(LINE))
    return layers.transform_calculate(
        decided=DECIDED,
        low=_or("low"),
        high=_or("high"),
        line="datum.case + '\\n' + datum.target",
        head="datum.head || ''",
    )


def _or(end: str) -> str:
    """Return an end of the interval, or the ratio itself where there is no interval at all."""
    return f"isValid(datum.ratio_{end}) ? datum.ratio_{end} : datum.ratio"


def pays(data: Any) -> Chart:
    """Seconds since the start of the process over iterations: where lines cross, the later starter has caught up."""
    asked = alt.param(name="asked", value=1000)
    seconds = alt.Y("seconds:Q", scale=LOG, title="time from the start of the process", axis=_axis())
    lines = (
        alt.Chart(data)
        .transform_calculate(power=FACTORS)
        .transform_flatten(["power"])
        .transform_calculate(
            iterations="pow(10, datum.power)", seconds="datum.start_s + datum.iterations * datum.median_s"
        )
        .mark_line()
        .encode(x=alt.X("iterations:Q", scale=LOG, axis=_axis("~s")), y=seconds, tooltip=_told("start_s"), **_targets())
    )
    here = alt.Chart(alt.InlineData([{}])).transform_calculate(iterations="asked")
    rule = here.mark_rule(strokeDash=[4, 3], color="#9ca3af").encode(x="iterations:Q")
    return alt.layer(lines, rule).add_params(asked).properties(width=WIDTH, height=HEIGHT)


def roofline(data: Any) -> Chart:
    """What each case reached, below the roofs of memory and caches; a grey mark is what its own arrays allow."""
    intensity = alt.X("intensity:Q", scale=LOG, title="FLOP per byte", axis=_axis(".3~g"))
    roof = alt.Y("roof_gflops:Q", scale=LOG, title="GFLOP/s", axis=_axis("~g"))
    base = alt.Chart(data)
    roofs, cases = (base.transform_filter(f"{no}isValid(datum.roof)") for no in ("", "!"))
    return alt.layer(
        roofs.mark_line(color="#9ca3af", strokeWidth=2).encode(
            x=intensity, y=roof, detail="roof:N", order="intensity:Q"
        ),
        roofs.mark_text(align="left", dx=6, dy=-8, color="#9ca3af").encode(x=intensity, y=roof, text="said:N"),
        cases.mark_tick(orient="horizontal", thickness=3, color="#9ca3af", size=22).encode(x=intensity, y=roof),
        cases.mark_point(size=70, strokeWidth=2).encode(
            x=intensity,
            y=alt.Y("gflops:Q", scale=LOG),
            shape=alt.Shape("operation:N", sort=None),
            tooltip=_told("gflops", "percent_of_ceiling", "bound"),
            **_targets(),
        ),
    ).properties(width=WIDTH, height=HEIGHT)


def scaling(data: Any, variable: str = "value") -> Chart:
    """Seconds of one iteration over what was varied: batch, width, threads or n."""
    varied = alt.X("value:Q", scale=LOG, title=variable, axis=_axis("~g"))
    return _over(data, varied, _told("value", "median_s"))


def history(data: Any) -> Chart:
    """Seconds of one iteration over time; a dashed line where the machine or its software had changed."""
    when = alt.X("timestamp:T", title="UTC", scale=alt.Scale(type="utc"))
    # Not filtered: Vega warns of an axis over no rows.
    seen = alt.condition("isValid(datum.change)", alt.value(1), alt.value(0))
    changed = alt.Chart().mark_rule(strokeDash=[4, 3], color="#9ca3af").encode(opacity=seen)
    return _over(data, when, _told("median_s", "timestamp", "commit", "framework_version"),
                 changed.encode(x=when, tooltip=["change:N", "timestamp:T"]))  # fmt: skip


def memory(data: Any) -> Chart:
    """The most memory that preparing and the first run of each case took, on the host and on the device."""
    peaks = alt.Chart().transform_fold(["host_peak_bytes", "device_peak_bytes"], ["of", "bytes_at_most"])
    known = peaks.transform_filter("isValid(datum.bytes_at_most)")
    named = known.transform_calculate(of="split(datum.of, '_')[0]", megabytes="datum.bytes_at_most / 1e6")
    bars = named.mark_bar().encode(
        x=alt.X("megabytes:Q", title="MB at most"), y=alt.Y("target:N", sort=None, title=None),
        color=alt.Color("of:N", title=None), tooltip=["target:N", "of:N", "megabytes:Q"],
    )  # fmt: skip
    layers = bars.properties(width=WIDTH, height=alt.Step(LINE))
    return _by_case(layers, data)


def training(data: Any) -> Chart:
    """The losses of each training by iteration."""
    lines = alt.Chart().mark_line(strokeWidth=1.3).encode(
        x=alt.X("step:Q", title="iteration"), y=alt.Y("loss:Q", title="loss", scale=alt.Scale(zero=False)),
        color=alt.Color("training:N", sort=None, title=None, legend=alt.Legend(orient="bottom", columns=1)),
    )  # fmt: skip
    layers = lines.properties(width=WIDTH, height=HEIGHT // 2)
    return _by_case(layers, data, "of")


def samples(data: Any) -> Chart:
    """How many of the visits to each target were faster than a time."""
    lines = alt.Chart(data).mark_line(point=HOLLOW).encode(
        x=alt.X("seconds:Q", scale=LOG, title="time", axis=_axis()),
        y=alt.Y("share:Q", title="visits that were as fast", axis=alt.Axis(format="%")),
        order="share:Q", tooltip=["target:N", "seconds:Q", "share:Q"], **_targets(),
    )  # fmt: skip
    return lines.properties(width=WIDTH, height=HEIGHT)


def _over(data: Any, x: alt.X, told: list[str], *more: alt.Chart) -> Chart:
    seconds = alt.Y("median_s:Q", scale=LOG, title="time", axis=_axis())
    layers = alt.layer(
        *more,
        alt.Chart().mark_rule().encode(x=x, y="ci_low_s:Q", y2="ci_high_s:Q", color=_targets()["color"]),
        alt.Chart().mark_line(point=HOLLOW).encode(x=x, y=seconds, tooltip=told, **_targets()),
    ).properties(width=WIDTH, height=HEIGHT * 2 // 3)
    return _by_case(layers, data)


def _by_case(layers: Chart, data: Any, field: str = "case") -> Chart:
    """Return the chart once for each case, below one another."""
    header = alt.Header(labelAnchor="start", labelFontWeight="bold", labelPadding=4)
    cases = alt.Facet(f"{field}:N", sort=None, title=None, header=header)
    return layers.facet(facet=cases, columns=1, data=data).resolve_scale(y="independent")


def _targets() -> dict[str, Any]:
    """Return what tells targets apart: colours, and beyond those dashes."""
    colours = alt.Color("target:N", sort=None, scale=alt.Scale(range=list(TARGETS)), title=None)
    return {
        "color": colours,
        "strokeDash": alt.StrokeDash("target:N", sort=None, scale=alt.Scale(range=DASHES), title=None),
    }


def _axis(form: str = "") -> alt.Axis:
    """Return an axis of numbers in this format, or else of times."""
    return alt.Axis(format=form, tickCount=6) if form else alt.Axis(labelExpr=TIME, tickCount=6)


def _told(*names: str) -> list[str]:
    """Return what a pointer that rests on a mark is told: whose it is, and these fields."""
    kinds = {name: {"time": "T", "text": "N"}.get(column.type, "Q") for name, column in DECLARED.items()}
    return ["case:N", "target:N", *(f"{name}:{kinds.get(name, 'Q')}" for name in names)]


BY_NAME: dict[str, Callable[..., Chart]] = {
    one.__name__: one for one in (ratios, samples, pays, roofline, scaling, history, memory, training)
}
