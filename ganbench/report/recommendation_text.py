"""A recommendation in one sentence, with the table behind it."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..errors import plural
from ..gan import MAX_ITERATIONS
from ..results.run import Run
from ..results.statistics import BAND, MIN_ROUNDS, Estimate, control_failed, verdict_of
from .formats import as_json
from .notes import control_line
from .recommendation import START_DOUBT, Candidate, Recommendation, Standing, recommend
from .start import break_even
from .table import heading, interval, seconds, verdict
from .text import PAPER, Part, Screen, document, narrowed, text_of

LEGEND = {  # of columns
    "total": "total: start + iterations x time of one, from a fresh process with an empty compile cache, "
    "[95 % interval].",
    "warm": "warm: the start with a filled one.",
    "start": f"A start is measured only once, so it is taken as known within a factor of {START_DOUBT}.",
    "against": "against: total / total of the first.",
}
LEAST = (("against", " ["), ("warm", ""), ("total", " ["), ("start", ""))  # is left out where there is no room
COLUMNS = ("target", "start", "warm", "iteration", "total", "against", "verdict")


def render(
    run: Run, table: pd.DataFrame, found: list[Candidate], left_out: Mapping[str, str], control: Estimate | None,
    iterations: int, form: str, screen: Screen = PAPER,
) -> str:  # fmt: skip
    """Return what to take for ``iterations`` iterations, as ``table`` or ``json``; ``found`` is not empty."""
    cold = recommend(found, iterations, control)
    again = [candidate for candidate in found if not math.isnan(candidate.warm_start_s)]
    warm = recommend(again, iterations, control, warm=True) if again else cold
    said = [sentence(cold), *turning_points(cold)]
    if warm.first.target != cold.first.target:
        said.append(f"with a warm compile cache, as from the second start on: {sentence(warm)}")
    if form == "json":
        apart = [standing.target for standing in (cold.first, *cold.rivals)]
        plain = {
            "run_id": run.header.run_id, "iterations": iterations,
            "recommended": None if cold.rivals else cold.first.target,
            "cannot_tell_apart": apart if cold.rivals else [],
            "said": said, "standings": list(map(_plain, cold.standings)), "left_out": dict(left_out),
        }  # fmt: skip
        return as_json(plain)
    notes = [*(f"left out: {target}: {reason}" for target, reason in left_out.items()), control_line(table)]
    slow = [s.target for s in (cold.first, *cold.rivals) if s.candidate.denormals == "kept"]
    if slow and iterations > MAX_ITERATIONS:
        notes.append(
            f"timed within the first {MAX_ITERATIONS} iterations: where units die, denormal moments may slow "
            f"{', '.join(slow)} later on; 'ganbench train' shows it"
        )
    lines = pd.DataFrame([_line(standing, cold.rounds) for standing in cold.standings], columns=list(COLUMNS))
    lines = narrowed(lines, screen.width, LEAST)
    notes.append(" ".join(meaning for name, meaning in LEGEND.items() if name in lines))
    parts = [Part(lines, wraps="verdict")]
    shown = document(heading(run.header), parts, [note for note in notes if note], "table", screen)
    return "\n".join(text_of(sentence, screen) for sentence in said) + "\n\n" + shown


def sentence(found: Recommendation) -> str:
    """Return the answer: what to take and what the runner-up costs, or what cannot be told apart, and why."""
    first, count = found.first, plural(found.iterations, "iteration")
    if len(found.standings) == 1:
        return f"for {count}: {_total(first)}; nothing else was measured to compare it with"
    if not found.rivals:
        second = min(found.standings[1:], key=lambda standing: standing.against.value)
        return f"for {count}: {_total(first)}; the runner-up, {second.target}, takes {more(second.against)}"
    names = [standing.target for standing in (first, *found.rivals)]
    apart = f"cannot tell {', '.join(names[:-1])} and {names[-1]} apart for {count}"
    if found.control is not None and control_failed(found.control):
        return f"{apart}: the control failed, something else disturbed this machine; measure again when it is quiet"
    if found.rounds < MIN_ROUNDS:
        rounds = f"{plural(found.rounds, 'round')} of the {MIN_ROUNDS} that it takes"
        return f"{apart}: {rounds}; a longer --budget gives more"
    totals = "; ".join([_total(first), *(f"{_total(rival)}, {more(rival.against)}" for rival in found.rivals)])
    if all(rival.verdict is not None and rival.verdict.outcome == "same" for rival in found.rivals):
        return f"{apart}: the same within {BAND:.0%}, either will do: {totals}"
    if all(rival.depends_on_start for rival in found.rivals):
        return f"{apart}: {totals}; it depends on start-up time, measured only once"
    return f"{apart}: {totals}; a longer --budget may decide"


def turning_points(found: Recommendation) -> list[str]:
    """Return for how many iterations another target would be quicker than the first, a sentence each."""
    first, below, beyond = found.first.candidate, dict[str, float](), dict[str, float]()
    for other in (standing.candidate for standing in found.standings[1:]):
        said = verdict_of(first.copies, other.copies, found.control)
        if said is not None and said.outcome in ("slower", "faster"):
            later, sooner = (first, other) if said.outcome == "slower" else (other, first)
            at = break_even(later.start_s, later.iteration.value, sooner.start_s, sooner.iteration.value)
            if 0 < at < math.inf:
                (below if later is first else beyond)[other.target] = at
    lines = []
    if below:  # the last to be caught up with
        name, at = max(below.items(), key=lambda turn: turn[1])
        lines.append(f"below about {at:,.0f} iterations {name} is quicker: it starts sooner")
    if beyond:  # the first to catch up
        name, at = min(beyond.items(), key=lambda turn: turn[1])
        lines.append(f"beyond about {at:,.0f} iterations {name} is quicker: by then its longer start has paid off")
    return lines


def more(against: Estimate) -> str:
    """Return a ratio of totals in words: ``6 % [2, 10] more``, or ``2.3 [2.1, 2.4] times as long``."""
    if against.value >= 2:
        return f"{against.shown('{:.1f}'.format)} times as long"
    percent = Estimate(*(100 * (value - 1) for value in against)).shown("{:.0f}".format)
    return f"{percent.replace(' ', ' % ', 1) if against.has_interval else f'{percent} %'} more"


def _total(standing: Standing) -> str:
    return f"{standing.target}, {standing.total.shown(seconds)}"


def _line(standing: Standing, rounds: int) -> list[str]:
    candidate, said = standing.candidate, standing.verdict
    times = [seconds(time) for time in (candidate.start_s, candidate.warm_start_s, candidate.iteration.value)]
    compared = "1" if said is None else interval(*standing.against)
    words = "" if said is None else verdict(said.outcome, said.detectable, rounds)
    return [standing.target, *times, standing.total.shown(seconds), compared, words]


def _plain(standing: Standing) -> dict[str, Any]:
    candidate, said = standing.candidate, standing.verdict
    return {
        "target": standing.target,
        "start_s": candidate.start_s,
        "warm_start_s": _number(candidate.warm_start_s),
        "iteration_s": candidate.iteration.value,
        "total_s": {name: _number(value) for name, value in standing.total._asdict().items()},
        "against_first": {name: _number(value) for name, value in standing.against._asdict().items()},
        "verdict": None if said is None else said.outcome,
        "detectable": None if said is None else _number(said.detectable),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
