"""The charts, one function each, over rows with the fields of ``evidence``: on the page, the reader's choice of them.

What is shown is decided where rows are made. Here stands only how they are drawn.
"""

from collections.abc import Callable
from typing import Any

from ..results.columns import DECLARED
from ..results.statistics import BAND
from ..results.store import some_home

with some_home():
    import altair as alt

__all__ = ["BY_NAME", "Chart", "alt"]

WIDTH, HEIGHT = 560, 260
LINE = 20  # of a chart in which each target has a line
FACTORS = "sequence(0, 7.01, 0.1)"  # powers of ten, of iterations
# Told apart by the colour-blind too. What is not decided is grey.
COLOURS = {"faster": "#2563eb", "slower": "#d97706", "same": "#0d9488", "not decided": "#9ca3af"}
DECIDED = (
    "datum.verdict === 'baseline' ? 'same' : "
    "indexof(['faster', 'slower', 'same'], datum.verdict) < 0 ? 'not decided' : datum.verdict"
)
Chart = Any  # one of Altair's many classes of charts, which share no type that can be configured
LOG = alt.Scale(type="log", nice=False, padding=12)
TIME = "datum.value >= 1 ? format(datum.value, ',') + ' s' : replace(format(datum.value, '.3~s'), /([mµn]?)$/, ' $1s')"


def ratios(data: Any) -> Chart:
    """Intervals of the ratios against the band in which two targets are the same, with the control below them."""
    band = alt.Chart().transform_aggregate(rows="count()", groupby=["case"])
    speed = alt.X("ratio:Q", scale=LOG, title="speed relative to the baseline: more than 1 is faster")
    target = alt.Y("target:N", sort=None, title=None)
    colours = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    verdict = alt.Color("decided:N", scale=colours, legend=alt.Legend(title=None, orient="bottom"))
    layers = alt.layer(
        band.mark_rect(opacity=0.18, color="#0d9488").encode(x=alt.datum(1 / (1 + BAND)), x2=alt.datum(1 + BAND)),
        alt.Chart().mark_rule(strokeWidth=2).encode(x="ratio_low:Q", x2="ratio_high:Q", y=target, color=verdict),
        alt.Chart().mark_point(filled=True, size=55).encode(x=speed, y=target, color=verdict, tooltip=_told("ratio")),
        alt.Chart()
        .mark_text(align="left", dx=9, dy=-7, fontSize=10)
        .encode(x=speed, y=target, text=alt.Text("ratio:Q", format=".2f")),
    ).properties(width=WIDTH, height=alt.Step(LINE))
    return _by_case(layers.transform_calculate(decided=DECIDED), data)


def pays(data: Any) -> Chart:
    """Seconds since the start of the process over iterations: where lines cross, the later starter has caught up."""
    asked = alt.param(name="asked", value=1000)
    seconds = alt.Y("seconds:Q", scale=LOG, title="seconds, with import, compiling and first call", axis=_axis())
    lines = (
        alt.Chart(data)
        .transform_calculate(power=FACTORS)
        .transform_flatten(["power"])
        .transform_calculate(
            iterations="pow(10, datum.power)", seconds="datum.start_s + datum.iterations * datum.median_s"
        )
        .mark_line()
        .encode(
            x=alt.X("iterations:Q", scale=LOG, axis=_axis("~s")), y=seconds, color=_targets(), tooltip=_told("start_s")
        )
    )
    here = alt.Chart(alt.InlineData([{}])).transform_calculate(iterations="asked")
    rule = here.mark_rule(strokeDash=[4, 3], color="#9ca3af").encode(x="iterations:Q")
    return alt.layer(lines, rule).add_params(asked).properties(width=WIDTH, height=HEIGHT)


def roofline(data: Any) -> Chart:
    """What each case reached, and above it what the measured ceilings allow at its FLOP per byte."""
    intensity = alt.X("intensity:Q", scale=LOG, title="FLOP per byte", axis=_axis(".3~g"))
    reached = alt.Y("gflops:Q", scale=LOG, title="GFLOP/s", axis=_axis("~g"))
    shape = alt.Shape("operation:N", sort=None)
    base = alt.Chart(data)
    return alt.layer(
        base.mark_rule(opacity=0.35).encode(x=intensity, y=reached, y2="roof_gflops:Q", color=_targets()),
        base.mark_tick(orient="horizontal", thickness=3, color="#9ca3af", size=22).encode(
            x=intensity, y="roof_gflops:Q"
        ),
        base.mark_point(size=70, strokeWidth=2).encode(
            x=intensity,
            y=reached,
            color=_targets(),
            shape=shape,
            tooltip=_told("gflops", "percent_of_ceiling", "bound"),
        ),
    ).properties(width=WIDTH, height=HEIGHT)


def scaling(data: Any) -> Chart:
    """Seconds of one iteration over what was varied: batch, width, threads or n."""
    varied = alt.X("value:Q", scale=LOG, title=None, axis=_axis("~g"))
    return _over(data, varied, _told("value", "median_s"))


def history(data: Any) -> Chart:
    """Seconds of one iteration over time; a dashed line where the machine or its software had changed."""
    when = alt.X("timestamp:T", title="UTC", scale=alt.Scale(type="utc"))
    changed = alt.Chart().transform_filter("isValid(datum.change)").mark_rule(strokeDash=[4, 3], color="#9ca3af")
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
        x=alt.X("step:Q", title="iteration"), y=alt.Y("loss:Q", title=None, scale=alt.Scale(zero=False)),
        color=alt.Color("training:N", sort=None, title=None, legend=alt.Legend(orient="bottom", columns=1)),
    )  # fmt: skip
    layers = lines.properties(width=WIDTH, height=HEIGHT // 2)
    return _by_case(layers, data, "of")


def _over(data: Any, x: alt.X, told: list[str], *more: alt.Chart) -> Chart:
    seconds = alt.Y("median_s:Q", scale=LOG, title=None, axis=_axis())
    layers = alt.layer(
        *more,
        alt.Chart().mark_rule().encode(x=x, y="ci_low_s:Q", y2="ci_high_s:Q", color=_targets()),
        alt.Chart().mark_line(point=True).encode(x=x, y=seconds, color=_targets(), tooltip=told),
    ).properties(width=WIDTH, height=HEIGHT * 2 // 3)
    return _by_case(layers, data)


def _by_case(layers: Chart, data: Any, field: str = "case") -> Chart:
    """Return the chart once for each case, below one another."""
    header = alt.Header(labelAnchor="start", labelFontWeight="bold", labelPadding=4)
    cases = alt.Facet(f"{field}:N", sort=None, title=None, header=header)
    return layers.facet(facet=cases, columns=1, data=data).resolve_scale(y="independent")


def _targets() -> alt.Color:
    return alt.Color("target:N", sort=None, scale=alt.Scale(scheme="tableau10"), title=None)


def _axis(form: str = "") -> alt.Axis:
    """Return an axis of numbers in this format, or else of times."""
    return alt.Axis(format=form, tickCount=6) if form else alt.Axis(labelExpr=TIME, tickCount=6)


def _told(*names: str) -> list[str]:
    """Return what a pointer that rests on a mark is told: whose it is, and these fields."""
    kinds = {name: {"time": "T", "text": "N"}.get(column.type, "Q") for name, column in DECLARED.items()}
    return ["case:N", "target:N", *(f"{name}:{kinds.get(name, 'Q')}" for name in names)]


BY_NAME: dict[str, Callable[[Any], Chart]] = {
    one.__name__: one for one in (ratios, pays, roofline, scaling, history, memory, training)
}
