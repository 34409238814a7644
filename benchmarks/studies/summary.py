"""The verdicts of all studies as one table, from the files that they left.

``python benchmarks/studies/summary.py`` prints it; ``--write`` puts it into docs/studies.md, with the pictures
that there are.
"""

import argparse
import json
import re
from pathlib import Path

from study import RESULTS

STUDIES = (
    "default_run", "recurrence", "aa_verdicts", "interval_coverage", "repeatability", "sensitivity", "doctor",
    "loop_overhead", "torch_timer", "cold", "asv_agreement", "gate_cost", "tolerance", "tolerance_wild",
    "tolerance_frameworks", "fresh_inputs", "convolution", "large_report", "fleet_scale", "fleet_overhead",
)  # fmt: skip
DOCUMENT = Path("docs/studies.md")
BEGIN, END = "<!-- studies -->\n", "<!-- end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT}")
    if parser.parse_args().write:
        DOCUMENT.write_text(written(DOCUMENT.read_text(), RESULTS, DOCUMENT.parent / "pictures"))
    else:
        print(table(RESULTS), end="")


def written(text: str, results: Path, pictures: Path) -> str:
    """Return a document with its table and pictures as the files now are."""
    before, _, rest = text.partition(BEGIN)
    text = before + BEGIN + table(results) + END + rest.partition(END)[2]

    def picture(marker: re.Match[str]) -> str:
        name, caption = marker.group(2, 3)
        shown = f"![{caption}](pictures/{name}.png)\n" if (pictures / f"{name}.png").exists() else ""
        return marker.group(1) + shown

    return re.sub(r"(<!-- picture (\w+): (.*?) -->\n)(?:!\[.*\n)?", picture, text)


def table(folder: Path) -> str:
    """Return Markdown, a row for each study; one that has not been run says so."""
    rows = ["| study | goal | measured | passed | machine, date |", "| --- | --- | --- | --- | --- |"]
    for name in STUDIES:
        path = folder / f"{name}.jsonl"
        if not path.exists():
            rows.append(f"| {name} | | not run yet | | |")
            continue
        lines = path.read_text().splitlines()
        head, verdict = json.loads(lines[0]), json.loads(lines[-1])
        passed = "yes" if verdict["passed"] else "**no**"
        judged = f", judged {head['judged']['date'][:10]}" if "judged" in head else ""
        where = f"{head['machine']}, {head['date'][:10]}{judged}"
        rows.append(f"| {name} | {verdict['goal']} | {verdict['measured']} | {passed} | {where} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
