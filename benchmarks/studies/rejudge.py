"""Judge again what a study has recorded, where the statistics have changed and the samples have not.

``python benchmarks/studies/rejudge.py NAME ...`` measures nothing. The file keeps what was asked of which machine and
when; it also says when it was judged, and by which commit.
"""

import argparse
import importlib
from datetime import UTC, datetime

from study import RESULTS, read_lines, write_lines

from ganbench.machine import environment


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
        write_lines(path, [head, *pieces, verdict])
        print(f"{name}: {'passed' if verdict['passed'] else 'NOT PASSED'}: {verdict['measured']}")


if __name__ == "__main__":
    main()
