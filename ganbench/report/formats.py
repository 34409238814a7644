"""Tables written in the format that was asked for: for reading with units, for programs with every digit."""

import io
import itertools
import json
from collections.abc import Hashable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from ..errors import UsageError, refused, require
from .table import is_number, text
from .text import PAPER, Part, Screen, document

NEEDS = {"latex": ("jinja2",), "parquet": ("pyarrow",)}  # pandas writes them through these


def check_format(form: str) -> None:
    """Raise ``UnavailableError`` where what writes this format is not installed."""
    require("report", form, *NEEDS.get(form, ()))


def records(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Return the rows of a table as JSON has them: None where there is no value."""
    rows = table.astype(object)
    return rows.where(rows.notna(), None).to_dict("records")


def as_json(found: object) -> str:
    """Return rows, or what holds them, as JSON text.

    Not by ``DataFrame.to_json``: it rounds to ten decimals, which is four digits of a microsecond.
    """
    return json.dumps(found, indent=1, default=str, allow_nan=False) + "\n"


def data(table: pd.DataFrame, form: str) -> str:
    """Return a table with every digit, as ``csv`` or ``json``."""
    return as_json(records(table)) if form == "json" else str(table.to_csv(index=False))


def render(pivot: pd.DataFrame, form: str, screen: Screen = PAPER) -> str:
    """Return a pivot as text in any of ``PIVOT_FORMATS`` but Parquet; a table has a part for each context."""
    if form in ("csv", "json"):
        return data(pivot.reset_index(), form)
    title, notes = pivot.attrs["title"], pivot.attrs["notes"]
    if form == "latex":
        # To the right goes what holds any number, whether or not a status stands among them.
        numeric = [False] * pivot.index.nlevels + [any(map(is_number, pivot[name])) for name in pivot.columns]
        return _latex(readable(pivot), " ".join(f"{part}." for part in (title, *notes)), numeric)
    parts = [Part(readable(pivot))] if form == "markdown" else [_part(pivot, one) for one in pivot.attrs["contexts"]]
    return document(title, parts, notes, form, screen)


def _part(pivot: pd.DataFrame, context: tuple[object, ...]) -> Part:
    """Return the table of one context, without what was available nowhere in it, which a line names."""
    mine = pivot
    for value in context:
        mine = mine[mine.index.get_level_values(0) == value].droplevel(0)
    seen = mine[[name for name in mine if not _absent(mine[name])]]
    seen = seen[[not _absent(row) for _, row in seen.iterrows()]]
    absent = sorted({str(name[-1] if isinstance(name, tuple) else name) for name in mine.index.difference(seen.index)})
    seen.attrs, levels = pivot.attrs, seen.index.nlevels
    shown = readable(seen)
    numeric = [
        name for name, source in zip(shown.columns[levels:], seen, strict=True) if any(map(is_number, seen[source]))
    ]
    cells = _without_repeats(shown.to_numpy(dtype=object).tolist(), levels)
    below = f"not available: {', '.join(absent)}" * bool(absent)
    return Part(
        pd.DataFrame(cells, columns=shown.columns), ", ".join(map(str, context)), "", numeric, levels, below=below
    )


def _absent(values: "pd.Series[Any]") -> bool:
    """Whether nothing stands here but that something was not available."""
    return all(value == "unavailable" or (pd.api.types.is_scalar(value) and pd.isna(value)) for value in values)


def readable(pivot: pd.DataFrame) -> pd.DataFrame:
    """Return a pivot as text, its index as columns: what is shown, cell by cell."""
    shown = pivot.index.to_frame(index=False).astype(str)
    for name in pivot.columns:
        unit = pivot.attrs["units"][str(name)]
        heading = str(name).removesuffix("_s") if unit == "seconds" else str(name)
        shown[heading] = pd.Series([text(value, unit) for value in pivot[name]], dtype=object)
    return shown


def parquet(pivot: pd.DataFrame) -> bytes:
    """Return a pivot as Parquet, whose columns have one type each.

    A column that holds a status somewhere becomes two: the numbers, and ``<column> status``.
    """
    flat = pivot.reset_index()
    columns: dict[Hashable, Any] = {}
    for name in flat.columns:
        values, key = flat[name], str(name)
        if name in pivot.index.names or not any(isinstance(value, str) for value in values):
            columns[key] = values
            continue
        columns[key] = pd.to_numeric(values, errors="coerce")
        words = [value if isinstance(value, str) else None for value in values]
        columns[f"{key} status"] = pd.Series(words, dtype="string")
    table = pd.DataFrame(columns)
    table.attrs = pivot.attrs
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    return file.getvalue()


def pack(table: pd.DataFrame, output: str | Path) -> list[Path]:
    """Write ``table`` (of ``ganbench.load_results``) below ``output``; return the files that were written.

    One folder ``machine=...`` for each machine, samples as lists of doubles. Raises ``UsageError`` where
    ``output`` holds anything already or nothing was measured, ``UnavailableError`` without pyarrow.
    """
    require("report", "Parquet", "pyarrow")
    import pyarrow as pa
    from pyarrow import compute, parquet as written

    folder = Path(output)
    if table.empty:
        raise UsageError("no results to pack: run 'ganbench compare', or name another folder")
    with refused(UsageError, f"cannot write {folder}", "; name another folder with --output"):
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty and would be mixed up: name a new folder with --output")
        samples = [None if values is None or isinstance(values, float) else list(values) for values in table["samples"]]
        packed = pa.Table.from_pandas(table.drop(columns="samples"), preserve_index=False)
        place = list(table.columns).index("samples")
        packed = packed.add_column(place, "samples", pa.array(samples, pa.list_(pa.float64())))
        own = {b"ganbench": version("ganbench").encode()}
        packed = packed.replace_schema_metadata({**(packed.schema.metadata or {}), **own})
        for machine in table["machine"].unique():
            own_folder = folder / f"machine={quote(machine, safe='')}"
            own_folder.mkdir(parents=True)
            rows = packed.filter(compute.field("machine") == machine).drop_columns("machine")
            with (own_folder / "part-0.parquet").open("wb") as file:  # pyarrow opens only what has a name in UTF-8
                written.write_table(rows, file)
    return sorted(folder.rglob("*.parquet"))


def _without_repeats(cells: list[list[str]], columns: int) -> list[list[str]]:
    """Return lines in whose first ``columns`` what repeats the line above is left out."""
    for above, line in reversed(list(itertools.pairwise(cells))):
        for position in range(columns):
            if line[position] != above[position]:
                break
            line[position] = ""
    return cells


def _latex(shown: pd.DataFrame, caption: str, numeric: list[bool]) -> str:
    aligned = "".join("r" if right else "l" for right in numeric)
    styler = shown.style.format(escape="latex").format_index(escape="latex", axis=1).hide(axis=0)
    return str(styler.to_latex(column_format=aligned, hrules=True, caption=_escape_latex(caption)))


def _escape_latex(words: str) -> str:
    """Return text with every character escaped that means something to LaTeX."""
    means = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    means |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
    return "".join(means.get(character, character) for character in words)
