"""Judge again what a study has recorded, where the statistics have changed and the samples have not.

``python benchmarks/studies/rejudge.py NAME ...`` measures nothing. The file keeps what was asked of which machine and
when; it also says when it was judged, and by which commit.
"""

import argparse
import importlib
import json
from datetime import UTC, datetime

from study import RESULTS, read_lines

from ganbench.machine import environment
from ganbench.results.store import replace_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+", metavar="NAME")
    for name in parser.parse_args().studies:
        path = RESULTS / f"{name}.jsonl"
        head, *pieces, _ = read_lines(path)
        commit, dirty = environment.source_state()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        head["judged"] = {"date": now, "commit": commit, "dirty": dirty}
        verdict = {"type": "verdict", **importlib.import_module(name).judge(pieces)}
        lines = [json.dumps(line, allow_nan=False) + "\n" for line in (head, *pieces, verdict)]
        replace_file(path, lambda file, lines=lines: file.write("".join(lines).encode()))
        print(f"{name}: {'passed' if verdict['passed'] else 'NOT PASSED'}: {verdict['measured']}")


if __name__ == "__main__":
    main()
