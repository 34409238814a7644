"""Pictures of the studies, drawn from the files that they left.

``python benchmarks/studies/pictures.py`` draws those that have been run into docs/pictures/.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import altair as alt
from sensitivity import waits
from study import BASELINE, CONTROL, RESULTS, read_lines, said, speed

from ganbench.results.statistics import BAND, speed_ratio
from ganbench.training.curves import png

FOLDER = Path("docs/pictures")
WIDTH, HEIGHT = 560, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=FOLDER)
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        path = chosen.results / f"{OF.get(name, name)}.jsonl"
        if not path.exists():
            print(f"{name}: not run yet")
            continue
        head, *pieces, _ = read_lines(path)
        title = f"{name}: {head['machine']}, {head['date'][:10]}"
        (chosen.output / f"{name}.png").write_bytes(png(draw(pieces).properties(title=title)))
        print(f"drawn: {chosen.output / name}.png")


def intervals(rows: list[dict], order: str, colour: str) -> alt.LayerChart:
    """Return ratios with their intervals, in order, over the band within which targets are the same."""
    numbered = [row | {order: number} for number, row in enumerate(rows, 1)]
    x = alt.X(f"{order}:Q", axis=alt.Axis(tickMinStep=1))
    return alt.layer(band(), bars(numbered, x, "ratio", color=f"{colour}:N")).properties(width=WIDTH, height=HEIGHT)


def bars(rows: list[dict], x: alt.X, title: str, **more: object) -> alt.LayerChart:
    """Return ratios with their intervals."""
    data, y = alt.Chart(alt.InlineData(rows)), alt.Y("low:Q", title=title, scale=alt.Scale(zero=False))
    points = data.mark_point(filled=True, size=22).encode(x=x, y="ratio:Q", **more)
    return alt.layer(data.mark_rule(opacity=0.6).encode(x=x, y=y, y2="high:Q", **more), points)


def band(centre: float = 1.0, width: float = BAND) -> alt.Chart:
    """Return a band as a grey stripe: that of 2 % round 1, or another."""
    edges = alt.InlineData([{"from": centre / (1 + width), "to": centre * (1 + width)}])
    return alt.Chart(edges).mark_rect(color="#ddd").encode(y="from:Q", y2="to:Q")


def ratio_row(estimate: tuple[float, float, float], **fields: object) -> dict:
    """Return a row for ``intervals``."""
    return dict(zip(("ratio", "low", "high"), estimate, strict=True)) | fields


def noise(pieces: list[dict]) -> alt.Chart:
    """Two copies of the same program, visit by visit, in the first round of the first run."""
    visits = pieces[0]["visits"].get("gan_iteration", {})
    rows = [
        {"pass": int(number), "ms": 1e3 * seconds, "process": name}
        for name in (BASELINE, CONTROL)
        for number, seconds in visits.get(name, [{}])[0].items()
    ]
    x = alt.X("pass:Q", axis=alt.Axis(tickMinStep=1))
    y = alt.Y("ms:Q", title="ms an iteration", scale=alt.Scale(zero=False))
    chart = alt.Chart(alt.InlineData(rows), width=WIDTH, height=HEIGHT // 2)
    return chart.mark_line(point=True).encode(x=x, y=y, color=alt.Color("process:N", title=None))


def aa_verdicts(pieces: list[dict]) -> alt.LayerChart:
    rows = [
        ratio_row(said(visits, name).ratio, framework=piece["framework"])
        for piece in pieces
        for visits in piece["visits"].values()
        for name in visits
        if name not in (BASELINE, CONTROL)
    ]
    return intervals(sorted(rows, key=lambda row: row["ratio"]), "comparison, by ratio", "framework")


def interval_coverage(pieces: list[dict]) -> alt.LayerChart:
    rows = [{"kind": p["kind"], "1 excluded": p["excluded"] / p["intervals"]} for p in pieces]
    x = alt.X("1 excluded:Q", axis=alt.Axis(format="%"), scale=alt.Scale(domainMin=0))
    points = alt.Chart(alt.InlineData(rows)).mark_point(filled=True).encode(x=x, y=alt.Y("kind:N", title=None))
    limit = alt.Chart(alt.InlineData([{"1 excluded": 0.07}])).mark_rule(strokeDash=[4, 3]).encode(x=x)
    return alt.layer(points, limit).properties(width=WIDTH, height=HEIGHT // 2)


def repeatability(pieces: list[dict]) -> alt.VConcatChart:
    charts = []
    for operation in pieces[0]["visits"]:
        rows = []
        for piece in pieces:
            *baseline, target = (piece["visits"][operation][name] for name in (BASELINE, CONTROL, "torch"))
            rows.append(ratio_row(speed(baseline, target), run=len(rows) + 1))
        centre = sorted(row["ratio"] for row in rows)[len(rows) // 2]
        layers = band(centre, BAND / 2), bars(rows, alt.X("run:Q"), "torch against numpy")
        charts.append(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT // 2, title=operation))
    return alt.vconcat(*charts)


def sensitivity(pieces: list[dict]) -> alt.LayerChart:
    rows = [ratio_row(verdict.ratio, slower=f"{percent} %") for piece in pieces for percent, verdict in waits(piece)]
    return intervals(sorted(rows, key=lambda row: (row["slower"], row["ratio"])), "comparison", "slower")


def loop_overhead(pieces: list[dict]) -> alt.Chart:
    rows = [{"µs": 1e6 * s} for piece in pieces if piece["program"] == "spin" for s in piece["seconds"]]
    x = alt.X("µs:Q", bin=alt.Bin(maxbins=60), title="what the engine says of 100 µs, in µs")
    chart = alt.Chart(alt.InlineData(rows), width=WIDTH, height=HEIGHT // 2)
    return chart.mark_bar().encode(x=x, y=alt.Y("count():Q", title="visits"))


def torch_timer(pieces: list[dict]) -> alt.LayerChart:
    rows = [ratio_row(speed_ratio(p["engine_s"], p["timer_s"]), operation=p["operation"]) for p in pieces]
    x = alt.X("operation:N", title=None, axis=alt.Axis(labelAngle=0))
    return alt.layer(band(), bars(rows, x, "engine ÷ Timer")).properties(width=WIDTH, height=HEIGHT // 2)


PICTURES: dict[str, Callable[[list[dict]], alt.TopLevelMixin]] = {
    draw.__name__: draw
    for draw in (noise, aa_verdicts, interval_coverage, repeatability, sensitivity,
                 loop_overhead, torch_timer)
}  # fmt: skip
OF = {"noise": "aa_verdicts"}  # the study that a picture is of, where that has another name

if __name__ == "__main__":
    main()
