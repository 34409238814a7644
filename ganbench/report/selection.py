"""Which rows of the results may stand side by side, and which of several runs of one case counts.

Rows that differ in any of ``KEYS`` are never pooled: those keys become levels of the index. Keys in which
all rows agree go into the title. Framework versions belong to a target, so they are written behind it.
"""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..errors import UsageError, plural
from ..operations import OPERATIONS
from ..results.case import CASE, DRAWN, KEYS, told_apart
from ..results.loading import whole
from ..results.records import DIGITS

USUAL = {"caches": "warm", "data": DIGITS}  # what goes without saying
WORDS = ("operation", "shape", "backend", "target", "status", "reason", "run_id", "baseline", "verdict", "commit",
         "hardware", "framework_version")  # fmt: skip
NOT_RECORDED = "?"
ANY_MODEL = "any"  # asv measures operations at a shape, which for most of them says all of the model


@dataclass
class Selection:
    """Rows ready for a pivot: ``keys`` tell their contexts apart, ``title`` and ``notes`` say the rest."""

    rows: pd.DataFrame
    older: pd.DataFrame  # all rows, those of older runs among them
    keys: list[str]
    title: str
    notes: list[str]

    @property
    def index(self) -> list[str]:
        """The columns that name a row of a pivot."""
        levels = [*self.keys, "operation"]
        several = self.rows.groupby(levels, dropna=False, sort=False)["shape"].nunique() > 1
        return [*levels, "shape"] if several.any() else levels


def select(table: pd.DataFrame, free: str = "", more: Sequence[str] = (), full: bool = True) -> Selection:
    """Return the newest row of each case of a table of ``load_results`` or ``load_outlines``.

    ``free`` is the key that a pivot spreads over its columns; ``more`` are columns that tell cases apart
    besides the keys. Of outlines these rows are worked out now, unless ``full`` says that their times are enough.
    Raises ``UsageError`` where there are no rows.
    """
    if table.empty:
        raise UsageError("no results to report: run 'ganbench compare', or name another folder")
    rows = _worded(table.reset_index(drop=True))
    rows["label"] = rows["target"]  # the target without a version behind it
    rows["machine"], rows["model"], rows["data"] = _machines(rows), _models(rows), _data(rows)
    for name in KEYS:
        rows[name] = _without_gaps(rows[name], ANY_MODEL if name == "model" else NOT_RECORDED)
    keys = [name for name in KEYS if name != free and rows[name].nunique() > 1]
    notes = _name_versions(rows, keys)
    order = [*keys, "place", "sizes", "first"]
    places = {name: place for place, name in enumerate(OPERATIONS)}
    rows["place"] = [places.get(name, len(places)) for name in rows["operation"]]
    rows["first"] = rows["label"].factorize()[0]
    sizes = {shape: tuple(map(int, re.findall(r"\d+", shape))) for shape in rows["shape"].unique()}
    rows["sizes"] = [sizes[shape] for shape in rows["shape"]]
    older = rows
    rows, left_out = _newest(rows, [*CASE, *more])
    if full:
        rows = _worded(whole(rows))
    rows = rows.sort_values(order, kind="stable", ignore_index=True)
    told = [(name, rows[name].iloc[0]) for name in KEYS if name != free and name not in keys]
    facts = [_fact(name, value) for name, value in told if USUAL.get(name) != value]
    return Selection(rows, older, keys, ", ".join(facts), notes + left_out)


def _worded(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows in which texts that are not known are empty ones."""
    words = [name for name in WORDS if name in rows]
    return rows.assign(**{name: rows[name].astype(object).where(rows[name].notna(), "") for name in words})


def contexts(rows: Iterable[Mapping[Any, Any]], keys: Sequence[str] = KEYS) -> list[tuple[Any, ...]]:
    """Return the values of ``keys`` of each context: the newest machine first, and of each the newest context.

    Only what was measured has an age.
    """
    newest: dict[Any, str] = {}
    machines: dict[tuple[Any, ...], str] = {}
    for row in rows:
        context = tuple(row[name] for name in keys)
        machines[context] = row["machine"]
        at = "" if instead(row) or pd.isna(row["timestamp"]) else str(row["timestamp"])
        for name in (context, row["machine"]):
            newest[name] = max(newest.get(name, ""), at)
    return sorted(machines, key=lambda context: (newest[machines[context]], newest[context]), reverse=True)


def _machines(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return names that tell machines apart: with their hardware, where several have one name."""
    several = rows.groupby(["machine", "source"])["hardware"].transform("nunique") > 1
    names = rows["machine"].copy()
    names[several] = [told_apart(*one) for one in rows.loc[several, ["machine", "hardware"]].itertuples(index=False)]
    return names


def _models(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return names that tell the models apart: with their widths, where shapes do not tell those of one name."""
    several = rows.groupby(["model", "operation", "shape"])["widths"].transform("nunique") > 1
    return rows["model"].mask(rows["model"].isin(rows.loc[several, "model"]), rows["model"] + " " + rows["widths"])


def _data(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return the data by names that tell them apart: equal content has one name, whatever its path.

    Where the content was not recorded the path says which data it is.
    """
    ordered = rows[["timestamp", "data", "data_digest"]].sort_values("timestamp", kind="stable")
    known = ordered["data_digest"].where(ordered["data_digest"].str.len() > DRAWN)
    content = known.fillna(ordered["data"].map(known.groupby(ordered["data"]).last())).fillna(ordered["data"])
    names = ordered["data"].groupby(content).last()
    same = names.duplicated(keep=False)
    names = names.where(~same, [f"{name} (digest {str(digest)[:8]})" for digest, name in names.items()])
    return content.map(names).reindex(rows.index).astype("string")


def _without_gaps(values: "pd.Series[str]", word: str) -> "pd.Series[str]":
    """Return a key in which what was not recorded is a group of its own."""
    if values.notna().all():
        return values.astype(object)
    return values.astype(object).where(values.notna(), word).astype(str).astype(object)


def _fact(name: str, value: Any) -> str:
    if value in (NOT_RECORDED, ANY_MODEL):
        return f"any {name}" if value == ANY_MODEL else f"{name} not recorded"
    if name == "caches":
        return f"{value} caches"
    return plural(value, "thread") if name == "threads" else str(value)


def _name_versions(rows: pd.DataFrame, keys: list[str]) -> list[str]:
    """Write the version behind every target of which one context holds several; return notes on the others."""
    notes = []
    known = rows[rows["framework_version"] != ""]
    for backend, mine in known.groupby("backend", sort=False):
        if mine["framework_version"].nunique() < 2:
            continue
        if not keys or (mine.groupby(keys)["framework_version"].nunique() > 1).any():
            own = rows["backend"] == backend
            versions = rows.loc[own, "framework_version"].replace("", NOT_RECORDED)
            rows.loc[own, "target"] = rows.loc[own, "target"] + " " + versions
            continue
        # Each context has its own version, so nothing is pooled; which has which is still worth knowing.
        where = [
            f"{version} ({', '.join(dict.fromkeys(' '.join(map(str, row)) for row in group[keys].to_numpy()))})"
            for version, group in mine.groupby("framework_version", sort=False)
        ]
        notes.append(f"versions of {backend}: {', '.join(where)}")
    return notes


def _newest(rows: pd.DataFrame, case: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the newest row of each case; one that was neither timed nor failed yields to any that was."""
    told = (rows["status"] != "ok") | rows["median_s"].notna()
    ordered = rows.assign(told=told).sort_values(["told", "timestamp", "run_id"], kind="stable", na_position="first")
    kept = ordered.drop_duplicates(case, keep="last").sort_index().drop(columns="told")
    count = len(rows) - len(kept)
    if not count:
        return kept, []
    return kept, [f"{plural(count, 'older row')} left out: of each case, the newest run is shown"]


def has_time(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Return which rows have a time that counts; ``instead`` says what the others have."""
    return (rows["status"] == "ok") & rows["median_s"].notna()


def instead(row: Mapping[Hashable, Any]) -> str:
    """Return what stands where a row has no number, such as its status; '' where it has one."""
    if row["status"] != "ok":
        return str(row["status"])
    return "not timed" if pd.isna(row["median_s"]) else ""
