"""Loss curves as a PNG: of one training, or of several backends laid over one another."""

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..gan import GANSpec
from .parity import PARTED, Parity

if TYPE_CHECKING:
    import altair

POINTS = 500  # a curve with more of them than pixels is thinned
WIDTH, HEIGHT = 640, 180


def draw(losses: Mapping[str, np.ndarray], spec: GANSpec, title: str, parity: Parity | None = None) -> bytes:
    """Return a PNG of tables (iteration, and what ``spec`` reports), one curve for each target.

    A panel for each loss; a critic has two more, its estimate of the Wasserstein distance and the penalty. With
    ``parity`` a last panel shows how far the curves lie apart, and every panel where they part.
    """
    import altair as alt
    from PIL import Image

    curves = {target: _curves(table, spec) for target, table in losses.items()}
    panels = [_panel(curves, name) for name in next(iter(curves.values())) if name != "iteration"]
    if parity is not None:
        panels.append(_spread(parity))
    if parity is not None and parity.parted is not None:  # mark it
        rule = _chart([{"iteration": parity.parted}]).mark_rule(color="firebrick").encode(x="iteration:Q")
        panels = [panel + rule for panel in panels]
    heading = alt.Title(title, subtitle=parity.explain() if parity else [], subtitleColor="#555", anchor="start")
    chart = alt.vconcat(*panels, title=heading).configure_view(stroke="#ddd")
    drawn, packed = io.BytesIO(), io.BytesIO()
    chart.save(drawn, format="png", ppi=110)
    # A fifth of the bytes: lines and letters need few colours.
    Image.open(drawn).convert("RGB").quantize(128, Image.Quantize.FASTOCTREE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def _curves(table: np.ndarray, spec: GANSpec) -> dict[str, np.ndarray]:
    """Return what is drawn by name, the iterations first."""
    named = dict(zip(("iteration", *spec.reported), table.T, strict=True))
    if spec.objective.penalised:
        named["wasserstein"] = named["penalty"] - named["d_loss"]
    return named


def _panel(curves: Mapping[str, dict[str, np.ndarray]], name: str) -> Any:
    import altair as alt

    legend = alt.Undefined if len(curves) > 1 else None
    # The first is the widest, because curves that are the same would hide one another.
    widths = [1.2 + 2.4 * under for under in range(len(curves) - 1, -1, -1)]
    scale = alt.Scale(type="ordinal", domain=list(curves), range=widths)
    values = [
        point | {"backend": target}
        for target, named in curves.items()
        for point in _points(name, named["iteration"], named[name], np.mean)
    ]
    return (
        _chart(values)
        .mark_line()
        .encode(
            x="iteration:Q",
            y=alt.Y(f"{name}:Q", scale=alt.Scale(zero=False)),
            color=alt.Color("backend:N", scale=alt.Scale(domain=list(curves), scheme="dark2"), legend=legend),
            strokeWidth=alt.StrokeWidth("backend:N", scale=scale, legend=legend),
        )
    )


def _spread(parity: Parity) -> Any:
    import altair as alt

    name = "largest difference"
    points = _points(name, parity.steps, parity.spread, np.max)
    lines = (
        _chart([point for point in points if point[name] > 0])  # a logarithmic axis has no zero
        .mark_line(strokeWidth=1.5, color="black")
        .encode(x="iteration:Q", y=alt.Y(f"{name}:Q", scale=alt.Scale(type="log"), axis=alt.Axis(format=".0e")))
    )
    return lines + _chart([{name: PARTED}]).mark_rule(strokeDash=[2, 2]).encode(y=f"{name}:Q")


def _chart(values: list[dict[str, Any]]) -> "altair.Chart":
    import altair as alt

    return alt.Chart(alt.InlineData(values), width=WIDTH, height=HEIGHT)


def _points(
    name: str, steps: np.ndarray, values: np.ndarray, reduce: Callable[[np.ndarray], float]
) -> list[dict[str, Any]]:
    """Return at most ``POINTS`` points: runs of neighbours reduced to one value, each at the last of its run."""
    run = -(-len(steps) // POINTS)
    parts = [slice(start, start + run) for start in range(0, len(steps), run)]
    return [{"iteration": int(steps[part][-1]), name: float(reduce(values[part]))} for part in parts]
