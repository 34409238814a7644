"""Loss curves: how far those of several backends lie apart that began with the same numbers, and a PNG of them."""

import functools
import io
import unicodedata
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..gan import GANSpec
from ..results.store import some_home
from .protocol import derived

if TYPE_CHECKING:
    import altair

GATED = 200  # iterations over which float64 must agree
PARTED = 1e-3  # losses are of order 1: beyond this, two curves can be told apart in a picture
POINTS = 500  # a curve with more of them than pixels is thinned
WIDTH, HEIGHT = 640, 180
PRIVATE = "\ue0f1"  # a letter that no font has
CJK = dict.fromkeys(("Cjk", "Hiragana", "Katakana", "Hangul", "Bopomofo"), "CJK")  # by the first word of their names
SHOWN = 10  # letters


class Parity(NamedTuple):
    """``spread`` is, by iteration, the largest difference of any loss between any two targets."""

    targets: list[str]
    steps: np.ndarray
    spread: np.ndarray

    @property
    def largest(self) -> float:
        """The largest difference over the first ``GATED`` iterations that were made."""
        return float(self.spread[:GATED].max())

    @property
    def parted(self) -> int | None:
        """The first iteration at which the curves lie apart by more than ``PARTED``, or None."""
        beyond = np.flatnonzero(self.spread > PARTED)
        return int(self.steps[beyond[0]]) if len(beyond) else None

    def describe(self) -> str:
        """Return in one or two sentences what was found."""
        shown = min(GATED, len(self.steps))
        text = (
            f"{', '.join(self.targets)}: losses differ by at most {self.largest:.1e} over the first {shown} iterations"
        )
        if self.parted is None:
            return f"{text}; in {len(self.steps):,} iterations the curves never differ by more than {PARTED:g}"
        return f"{text}; the curves part at iteration {self.parted:,}, where they first differ by more than {PARTED:g}"

    def explain(self) -> list[str]:
        """Return lines for a picture: the largest difference, and the reason if the curves part."""
        lines = self.describe().split("; ")
        if self.parted is not None:
            lines.append(
                "Red line: the first difference above the dotted one. Every backend rounds in its own order, "
                "and each network learns from the other, which amplifies it."
            )
        return lines


def compare_losses(losses: Mapping[str, np.ndarray]) -> Parity:
    """Return the parity of tables (iteration, d_loss, g_loss), over the iterations that all of them have."""
    steps = functools.reduce(np.intersect1d, (table[:, 0] for table in losses.values()))
    tables = np.stack([table[np.isin(table[:, 0], steps), 1:] for table in losses.values()])
    return Parity(list(losses), steps.astype(int), np.ptp(tables, axis=0).max(axis=1))


def draw(losses: Mapping[str, np.ndarray], spec: GANSpec, title: str, parity: Parity | None = None) -> bytes:
    """Return a PNG of tables (iteration, and what ``spec`` reports), one curve for each target.

    A panel for each loss; a critic has two more, its estimate of the Wasserstein distance and the penalty. With
    ``parity`` a last panel shows how far the curves lie apart, and every panel where they part.
    """
    with some_home():
        import altair as alt

    curves = {target: _curves(table, spec) for target, table in losses.items()}
    panels = [_panel(curves, name) for name in next(iter(curves.values())) if name != "iteration"]
    if parity is not None:
        panels.append(_spread(parity))
    if parity is not None and parity.parted is not None:  # mark it
        rule = _chart([{"iteration": parity.parted}]).mark_rule(color="firebrick").encode(x="iteration:Q")
        panels = [panel + rule for panel in panels]
    heading = alt.Title(title, subtitle=parity.explain() if parity else [], subtitleColor="#555", anchor="start")
    chart = alt.vconcat(*panels, title=heading).configure_view(stroke="#ddd")
    return png(chart)


def png(chart: Any) -> bytes:
    """Return a chart as a PNG of few colours, which lines and letters need: a fifth of the bytes."""
    from PIL import Image

    drawn, packed = io.BytesIO(), io.BytesIO()
    chart.save(drawn, format="png", ppi=110)
    Image.open(drawn).convert("RGB").quantize(128, Image.Quantize.FASTOCTREE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def undrawn(text: str) -> str:
    """Return in a sentence which letters of ``text`` no font of this machine has, and which has them; or ''.

    A letter that is drawn as one which nobody has, of private use, is a box.
    """
    import vl_convert

    letters = dict.fromkeys(letter for letter in text if ord(letter) > 0x7F and letter.isprintable())
    text_of = '<text y="30" font-family="sans-serif">{}</text>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">{text_of}</svg>'
    box, *drawn = (vl_convert.svg_to_png(svg.format(letter)) for letter in (PRIVATE, *letters))
    boxes = [letter for letter, picture in zip(letters, drawn, strict=True) if picture == box]
    scripts = {letter: unicodedata.name(letter, "Symbols").split()[0].title() for letter in boxes}
    fonts = {CJK.get(script, "Emoji" if ord(letter) > 0x1F000 else script) for letter, script in scripts.items()}
    if not boxes:
        return ""
    wanted = " and ".join(f"Noto Sans {font}" for font in sorted(fonts))
    return f"no font here has {''.join(boxes[:SHOWN])}, so boxes are drawn instead: install {wanted}, for example"


def _curves(table: np.ndarray, spec: GANSpec) -> dict[str, np.ndarray]:
    """Return what is drawn by name, the iterations first."""
    named = dict(zip(("iteration", *spec.reported), table.T, strict=True))
    return named | derived(named) if spec.objective.penalised else named


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
