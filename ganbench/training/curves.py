"""Loss curves as a PNG: of one training, or of several backends laid over one another."""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .parity import PARTED, Parity

if TYPE_CHECKING:
    import altair

POINTS = 500  # a curve with more of them than pixels is thinned
WIDTH, HEIGHT = 640, 180
LOSSES = ("d_loss", "g_loss")


def draw(losses: Mapping[str, np.ndarray], title: str, parity: Parity | None = None) -> bytes:
    """Return a PNG of tables (iteration, d_loss, g_loss), one curve for each target.

    With ``parity`` a third panel shows how far the curves lie apart, and every panel where they part.
    """
    import altair as alt
    from PIL import Image

    panels: list[Any] = [_panel(losses, column, name, parity) for column, name in enumerate(LOSSES, 1)]
    if parity is not None:
        panels.append(_spread(parity))
    heading = alt.Title(title, subtitle=parity.explain() if parity else [], subtitleColor="#555", anchor="start")
    chart = alt.vconcat(*panels, title=heading).configure_view(stroke="#ddd")
    drawn, packed = io.BytesIO(), io.BytesIO()
    chart.save(drawn, format="png", ppi=110)
    # A fifth of the bytes: lines and letters need few colours.
    Image.open(drawn).convert("RGB").quantize(128, Image.Quantize.FASTOCTREE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def _panel(
    losses: Mapping[str, np.ndarray], column: int, name: str, parity: Parity | None
) -> "altair.LayerChart | altair.FacetChart":
    import altair as alt

    legend = alt.Undefined if len(losses) > 1 else None
    widths = [1.2 + 2.4 * under for under in range(len(losses) - 1, -1, -1)]
    scale = alt.Scale(type="ordinal", domain=list(losses), range=widths)
    values = [
        {"iteration": step, name: loss, "backend": target}
        for target, table in losses.items()
        for step, loss in _thinned(table[:, 0], table[:, column], np.mean)
    ]
    lines = (
        alt.Chart(alt.InlineData(values), width=WIDTH, height=HEIGHT)
        .mark_line()
        .encode(
            x=alt.X("iteration:Q"),
            y=alt.Y(f"{name}:Q", scale=alt.Scale(zero=False)),
            color=alt.Color("backend:N", scale=alt.Scale(domain=list(losses), scheme="dark2"), legend=legend),
            # The first is the widest, because curves that are the same would hide one another.
            strokeWidth=alt.StrokeWidth("backend:N", scale=scale, legend=legend),
        )
    )
    return alt.layer(lines, *_rule(parity))


def _spread(parity: Parity) -> "altair.LayerChart | altair.FacetChart":
    import altair as alt

    name = "largest difference"
    values = [
        {"iteration": step, name: difference}
        for step, difference in _thinned(parity.steps, parity.spread, np.max)
        if difference > 0  # a logarithmic axis has no zero
    ]
    lines = (
        alt.Chart(alt.InlineData(values), width=WIDTH, height=HEIGHT)
        .mark_line(strokeWidth=1.5, color="black")
        .encode(x=alt.X("iteration:Q"), y=alt.Y(f"{name}:Q", scale=alt.Scale(type="log"), axis=alt.Axis(format=".0e")))
    )
    limit = alt.Chart(alt.InlineData([{name: PARTED}])).mark_rule(strokeDash=[2, 2]).encode(y=f"{name}:Q")
    return alt.layer(lines, limit, *_rule(parity))


def _rule(parity: Parity | None) -> list[Any]:
    """Return the line that marks where the curves part, if they do."""
    import altair as alt

    if parity is None or parity.parted is None:
        return []
    chart = alt.Chart(alt.InlineData([{"iteration": parity.parted}]))
    return [chart.mark_rule(color="firebrick").encode(x="iteration:Q")]


def _thinned(
    steps: np.ndarray, values: np.ndarray, reduce: Callable[[np.ndarray], float]
) -> Iterator[tuple[int, float]]:
    """Yield at most ``POINTS`` points: runs of neighbours reduced to one value, each at the last of its run."""
    run = -(-len(steps) // POINTS)
    for start in range(0, len(steps), run):
        part = slice(start, start + run)
        yield int(steps[part][-1]), float(reduce(values[part]))
