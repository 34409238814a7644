"""A recommendation in one sentence, with the table behind it."""

import json
import math
from collections.abc import Mapping
from typing import Any

from ..gan import MAX_ITERATIONS
from ..results.run import Run
from ..results.statistics import BAND, MIN_ROUNDS, Estimate
from ..results.table import run_table
from .notes import control_line
from .recommendation import START_DOUBT, Candidate, Recommendation, Standing, recommend
from .table import heading, seconds, verdict
from .text import grid, page

LEGEND = (
    "total: start + iterations x time of one, from a fresh process with an empty compile cache, [95 % interval]; "
    "warm: the start with a filled one. A start is measured only once, so it is taken as known within a factor of "
    f"{START_DOUBT}. against: total / total of the first."
)
COLUMNS = ("target", "start", "warm", "iteration", "total", "against", "verdict")


def render(
    run: Run, found: list[Candidate], left_out: Mapping[str, str], control: Estimate | None,
    iterations: int, form: str,
) -> str:  # fmt: skip
    """Return what to take for ``iterations`` iterations, as ``table`` or ``json``; ``found`` is not empty."""
    cold = recommend(found, iterations, control)
    again = [candidate for candidate in found if not math.isnan(candidate.warm_start_s)]
    warm = recommend(again, iterations, control, warm=True) if again else None
    said = [sentence(cold), *turns(cold)]
    if warm is not None and warm.first.target != cold.first.target:
        said.append(f"with a warm compile cache, as from the second start on: {sentence(warm)}")
    if form == "json":
        return json.dumps(_plain(cold, said, left_out, run), indent=1, allow_nan=False) + "\n"
    title = heading(run.header)
    missing = [f"left out: {target}: {reason}" for target, reason in left_out.items()]
    notes = [*missing, control_line(run_table(run)), _long(cold), LEGEND]
    table = page(title, [grid(COLUMNS, _table(cold), "verdict")], [note for note in notes if note])
    return "\n".join(said) + "\n\n" + table


def sentence(found: Recommendation) -> str:
    """Return the answer: what to take and what the runner-up costs, or what cannot be told apart, and why."""
    first, count = found.first, f"{found.iterations:,} iteration{'s' * (found.iterations != 1)}"
    if len(found.standings) == 1:
        return f"for {count}: {_total(first)}; nothing else was measured to compare it with"
    if not found.rivals:
        second = min(found.standings[1:], key=lambda standing: standing.against.value)
        return f"for {count}: {_total(first)}; the runner-up, {second.target}, takes {more(second.against)}"
    names = [standing.target for standing in (first, *found.rivals)]
    apart = f"cannot tell {', '.join(names[:-1])} and {names[-1]} apart for {count}"
    if found.control_failed:
        return f"{apart}: the control failed, something else disturbed this machine; measure again when it is quiet"
    if found.rounds < MIN_ROUNDS:
        rounds = f"{found.rounds} round{'s' * (found.rounds != 1)} of the {MIN_ROUNDS} that it takes"
        return f"{apart}: {rounds}; a longer --budget gives more"
    totals = "; ".join([_total(first), *(f"{_total(rival)}, {more(rival.against)}" for rival in found.rivals)])
    if all(rival.verdict is not None and rival.verdict.outcome == "same" for rival in found.rivals):
        return f"{apart}: the same within {BAND:.0%}, either will do: {totals}"
    if all(rival.depends_on_start for rival in found.rivals):
        return f"{apart}: {totals}; it depends on start-up time, measured only once"
    return f"{apart}: {totals}; a longer --budget may decide"


def turns(found: Recommendation) -> list[str]:
    """Return for how many iterations another target would be quicker than the first, a sentence each."""
    lines = []
    if found.fewer is not None:
        lines.append(f"below about {found.fewer.at:,.0f} iterations {found.fewer.target} is quicker: it starts sooner")
    if found.more is not None:
        beyond = f"beyond about {found.more.at:,.0f} iterations {found.more.target} is quicker"
        lines.append(f"{beyond}: by then its longer start has paid off")
    return lines


def more(against: Estimate) -> str:
    """Return a ratio of totals in words: ``6 % [2, 10] more``, or ``2.3 [2.1, 2.4] times as long``."""
    value, low, high = against
    if value >= 2:
        return f"{value:.1f}{'' if math.isnan(low) else f' [{low:.1f}, {high:.1f}]'} times as long"
    interval = "" if math.isnan(low) else f" [{100 * (low - 1):.0f}, {100 * (high - 1):.0f}]"
    return f"{100 * (value - 1):.0f} %{interval} more"


def _total(standing: Standing) -> str:
    return f"{standing.target}, {_interval(standing.total)}"


def _interval(total: Estimate) -> str:
    return seconds(total.value) + (f" [{seconds(total.low)}, {seconds(total.high)}]" if total.has_interval else "")


def _long(found: Recommendation) -> str:
    """Return what may slow iterations down that are later than any that was timed."""
    kept = [s.target for s in (found.first, *found.rivals) if s.candidate.denormals == "kept"]
    if found.iterations <= MAX_ITERATIONS or not kept:
        return ""
    return (
        f"timed within the first {MAX_ITERATIONS} iterations: where units die, denormal moments may slow "
        f"{', '.join(kept)} later on; 'ganbench train' shows it"
    )


def _table(found: Recommendation) -> list[list[str]]:
    rows = []
    for standing in found.standings:
        candidate, against = standing.candidate, standing.against
        times = [seconds(value) for value in (candidate.start_s, candidate.warm_start_s, candidate.iteration.value)]
        bounds = f" [{against.low:.2f}, {against.high:.2f}]" if against.has_interval else ""
        compared = f"{against.value:.2f}{bounds}" if standing is not found.first else "1"
        said = standing.verdict
        words = "" if said is None else verdict(said.outcome, said.detectable, found.rounds)
        rows.append([standing.target, *times, _interval(standing.total), compared, words])
    return rows


def _plain(found: Recommendation, said: list[str], left_out: Mapping[str, str], run: Run) -> dict[str, Any]:
    standings = [
        {
            "target": standing.target,
            "start_s": standing.candidate.start_s,
            "warm_start_s": _number(standing.candidate.warm_start_s),
            "iteration_s": standing.candidate.iteration.value,
            "total_s": _numbers(standing.total),
            "against_first": _numbers(standing.against),
            "verdict": None if standing.verdict is None else standing.verdict.outcome,
            "detectable": None if standing.verdict is None else _number(standing.verdict.detectable),
        }
        for standing in found.standings
    ]
    return {
        "run_id": run.header.run_id,
        "iterations": found.iterations,
        "recommended": None if found.rivals else found.first.target,
        "cannot_tell_apart": [s.target for s in (found.first, *found.rivals)] if found.rivals else [],
        "said": said,
        "standings": standings,
        "left_out": dict(left_out),
    }


def _numbers(estimate: Estimate) -> dict[str, float | None]:
    return {name: _number(value) for name, value in estimate._asdict().items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
