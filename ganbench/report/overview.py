"""What ``ganbench report`` prints: one context after another as ``compare`` prints it, the newest machine first."""

from functools import cache

import pandas as pd

from ..results.case import KEYS
from ..results.run import RunOf
from .chart_rows import with_cases
from .export import laid_out
from .picture import subtitle
from .relative import MEAN, SPEED, baseline_of, fastest, mean, speeds
from .selection import contexts, instead, select
from .table import by_speed, in_words, text
from .text import Part, Screen, document, text_of

FURTHER = "'ganbench results show RUN' has the remarks on a run, and 'ganbench results list' the runs."


def overview(df: pd.DataFrame, baseline: str | None, screen: Screen, run_of: RunOf) -> str:
    """Return the speeds of a table of ``load_results`` as text: a table of each context, the fastest target first.

    ``baseline`` is a target; None: that of the newest run of each case. Raises ``UsageError`` where there are no
    rows or nothing was measured on ``baseline``.
    """
    found = select(df)
    baseline_of(found.rows, baseline)  # whether it was measured anywhere
    rows = with_cases(found.rows)
    rows["word"] = [instead(row) for row in rows.to_dict("records")]
    rows["first"] = fastest(found.rows, run_of, found.older)

    @cache
    def relative_to(own: str) -> pd.DataFrame:
        return speeds(found.rows, own, run_of, found.older)[SPEED]

    texts, signs = [], dict[str, None]()
    groups = dict(list(rows.groupby(list(KEYS), sort=False, dropna=False)))
    for context in contexts(found.rows.to_dict("records")):
        mine = groups[context]
        there, parts, notes = mine[mine["word"] != "unavailable"], list[Part](), list[str]()
        for own, cases in _by_baseline(there, baseline).items():
            chosen = there[there["case"].isin(cases)]
            table = _relative(chosen, own, relative_to(own))
            part, reasons, meanings = laid_out(table, in_words(table, table["first"]), screen)
            parts += [part._replace(heading=f"speed relative to {own}"), *_means(table)]
            notes += reasons
            signs |= dict.fromkeys(meanings)
        title = ", ".join([subtitle(context), *_when(mine)])
        texts.append(document(title, parts, [*notes, *_absent(mine, there)], "table", screen).strip("\n"))
    last = (*found.notes, " ".join(signs), FURTHER)
    return "\n\n".join([*texts, "\n".join(text_of(note, screen) for note in last if note)]) + "\n"


def _by_baseline(rows: pd.DataFrame, asked: str | None) -> dict[str, list[str]]:
    """Return the cases of one context by the target that their speeds are relative to."""
    found: dict[str, list[str]] = {}
    for case, mine in rows.groupby("case", sort=False):
        timed = mine[mine["word"] == ""]
        found.setdefault(asked or baseline_of(timed if len(timed) else mine, None), []).append(str(case))
    return found


def _relative(rows: pd.DataFrame, own: str, told: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one table, those of each case by speed, with the speeds relative to one target."""
    table = rows.assign(
        **told.loc[rows.index], operation=rows["case"], status=rows["word"].mask(rows["word"] == "", "ok"),
        threads=pd.to_numeric(rows["threads"], errors="coerce"),
    )  # fmt: skip
    table["verdict"] = table["verdict"].mask(table["ratio"].isna() & (table["status"] == "ok"), "no baseline")
    return by_speed(table)


def _means(table: pd.DataFrame) -> list[Part]:
    """Return the mean speed of each target that has one in every case: of another it would say nothing."""
    cases = table["operation"].nunique()
    speeds_of = {target: list(ratios) for target, ratios in table.groupby("target", sort=False)["ratio"]}
    means = {target: mean(ratios) for target, ratios in speeds_of.items() if len(ratios) == cases > 1}
    known = sorted(((value, str(target)) for target, value in means.items() if value == value), reverse=True)
    lines = pd.DataFrame([[target, text(value, "ratio")] for value, target in known], columns=[MEAN, "speed"])
    return [Part(lines, right=("speed",))] if known else []


def _when(rows: pd.DataFrame) -> list[str]:
    days = sorted(f"{day:%Y-%m-%d}" for day in rows["timestamp"].dropna())
    return [days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"] if days else []


def _absent(rows: pd.DataFrame, there: pd.DataFrame) -> list[str]:
    """Return a line on the targets that were available nowhere in a context."""
    absent = [name for name in dict.fromkeys(rows["target"]) if name not in set(there["target"])]
    nothing = "nothing was measured; " if there.empty else ""
    return [f"{nothing}not available: {', '.join(absent)}"] if absent else []
