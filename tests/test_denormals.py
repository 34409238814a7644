"""The numbers of the study of denormals are documented as they are."""

import json
import statistics
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_documentation_shows_what_the_file_says():
    rows = [json.loads(line) for line in (ROOT / "results" / "studies" / "denormals.jsonl").read_text().splitlines()]
    shown = [
        line for line in (ROOT / "docs" / "training-measured.md").read_text().splitlines() if line.count("|") == 7
    ][2:]
    runs = list(dict.fromkeys((row["target"], row["remedy"]) for row in rows))
    assert len(shown) == len(runs) == 7
    for line, name in zip(shown, runs, strict=True):
        mine = [row for row in rows if (row["target"], row["remedy"]) == name]
        trained = [row for row in mine if "iteration" in row]
        times = [row["seconds_per_iteration"] for row in trained]
        expected = [statistics.median(times[:4]), statistics.median(times[-4:])]
        expected += [row["seconds_per_iteration"] for row in mine if "adam_step" in row]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0].startswith(f"`{name[0]}`")
        assert [cell for cell in cells if cell.endswith(" ms")] == [f"{1e3 * seconds:.2f} ms" for seconds in expected]
        assert cells[3] == f"{max(row['denormals'] for row in trained):,}"
