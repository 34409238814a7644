"""A comparison as a notebook shows it: title, table with the fastest in bold, reasons, control line."""

import html

from ..results.run import Run
from ..results.table import run_table
from . import counted
from .notes import details, remarks
from .relative import SURELY
from .table import MARKS, NUMBERS, by_speed, heading, legend, summary

# Translucent and inherited colours only: the page around it may be light or dark.
CSS = """
.ganbench table { border-collapse: collapse; margin: 0.5em 0 }
.ganbench th, .ganbench td { padding: 0.15em 0.7em; text-align: left; border: 0; white-space: nowrap }
.ganbench .number { text-align: right; font-variant-numeric: tabular-nums }
.ganbench thead th { border-bottom: 1px solid }
.ganbench .first td { border-top: 1px solid rgba(128, 128, 128, 0.5) }
.ganbench .fastest td { font-weight: bold; background: rgba(46, 160, 67, 0.15) }
.ganbench .missing td { opacity: 0.65 }
.ganbench .missing td.verdict { white-space: normal }
.ganbench p { margin: 0.3em 0; max-width: 60em }
.ganbench small { opacity: 0.8 }
"""


def to_html(run: Run) -> str:
    """Return a comparison as a fragment of HTML that needs nothing from elsewhere."""
    if run.header.count:
        return f'<div class="ganbench"><pre>{html.escape(counted.render(run, "table"))}</pre></div>'
    table = by_speed(run_table(run))
    shown = summary(run, table)
    head = "".join(f'<th class="{_kind(name)}">{name}</th>' for name in shown.columns)
    body, before = [], None
    for row, status in zip(shown.to_dict("records"), table["status"], strict=True):
        kinds = ["first"] if before not in (None, row["operation"]) else []
        kinds += ["missing"] if status != "ok" else ["fastest"] if row["target"].endswith(f" {MARKS[SURELY]}") else []
        before = row["operation"]
        cells = "".join(f'<td class="{_kind(name)}">{html.escape(str(cell))}</td>' for name, cell in row.items())
        body.append(f'<tr class="{" ".join(kinds)}">{cells}</tr>')
    title = heading(run.header)
    parts = (
        f"<style>{CSS}</style>",
        f"<p><strong>{html.escape(title)}</strong></p>",
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>",
        *(f"<p>{html.escape(line)}</p>" for line in (*remarks(run, table), *details(run, table))),
        f"<p><small>{html.escape(' '.join(legend(shown)))}</small></p>",
    )
    return f'<div class="ganbench">{"".join(parts)}</div>'


def _kind(column: object) -> str:
    return "number" if column in NUMBERS else str(column)
