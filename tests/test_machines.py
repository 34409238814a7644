"""Machines of one name are one machine only if they are made of the same: in every report."""

import json
import re

import pytest

import ganbench
from ganbench.results.case import hardware, told_apart

ONE, OTHER = "Intel(R) Xeon(R) Processor @ 2.50GHz", "Intel(R) Xeon(R) CPU @ 2.80GHz"
NAMES = "xeon-2c (Intel @ 2.50GHz)", "xeon-2c (Intel @ 2.80GHz)"


@pytest.fixture
def results(craft, tmp_path, real_run):
    """Of one case, a run on each of two machines of one name, the second twice as fast, and an older one."""
    there = real_run[0]["environment"] | {"logical_cpus": 2, "gpus": []}
    for cpu, scale in ((ONE, 9.0), (ONE, 1.0), (OTHER, 0.5)):
        craft(tmp_path / "r", {"torch": 2.0}, machine="xeon-2c", environment=there | {"cpu": cpu}, scale=scale)
    return tmp_path / "r"


def test_hardware_is_named_by_what_its_name_does_not_say():
    assert hardware(2, ONE) == "2x Intel Xeon @ 2.50GHz"
    assert hardware(8, "AMD EPYC", ["H100"]) == "8x AMD EPYC + H100"
    assert hardware(None, ONE) == hardware(2, "") == ""
    assert told_apart("xeon-2c", hardware(2, ONE)) == NAMES[0]
    assert told_apart("lab", hardware(2, ONE)) == "lab (2x Intel Xeon @ 2.50GHz)"
    assert told_apart("lab", "") == "lab"


def test_the_table_has_the_name_and_the_hardware(results):
    table = ganbench.load_results(results)
    assert set(table["machine"]) == {"xeon-2c"}
    assert set(table["hardware"]) == {"2x Intel Xeon @ 2.50GHz", "2x Intel Xeon @ 2.80GHz"}


def test_every_report_tells_them_apart(results, ganbench_cli, tmp_path):
    out = ganbench_cli("report", results)[1]
    assert re.findall(r"^(xeon-2c .*?), tiny", out, re.M) == list(reversed(NAMES))
    assert "4 older rows" not in out.partition(NAMES[1])[0]
    history = json.loads(ganbench_cli("report", results, "--by", "commit", "--ops", "matmul", "--format", "json")[1])
    of = {(row["machine"], row["target"]): row["median_s"] for row in history}
    assert of[NAMES[0], "numpy"] == pytest.approx(2 * of[NAMES[1], "numpy"])
    beside = json.loads(ganbench_cli("report", results, "--across", "--ops", "matmul", "--format", "json")[1])
    assert {row["machine"] for row in beside} == set(NAMES)
    assert ganbench_cli("report", results, "--picture", tmp_path / "x.svg", "--chart", "history")[0] == 0
    assert NAMES[0] in (tmp_path / "x.svg").read_text()  # of the other there is one run, which is no history
    listed = ganbench_cli("results", "list", results)[1]
    assert [listed.count(name) for name in NAMES] == [2, 1]


def test_the_page_tells_them_apart_and_pairs_each_with_its_own_run(results):
    from ganbench.report import web
    from ganbench.report.selection import select

    data, runs = web.content(results, select(ganbench.load_results(results)))
    contexts = [dict(zip(data["keys"], one["values"], strict=True)) for one in data["contexts"]]
    assert {one["machine"] for one in contexts} == set(NAMES)
    assert len(runs) == 2
    place = data["cells"]["names"].index("fastest")
    words = data["cells"]["words"][place]
    assert {words[row[place]] for row in data["cells"]["rows"]} == {"surely", ""}


def test_one_machine_keeps_its_name(craft, tmp_path, ganbench_cli):
    craft(tmp_path)
    craft(tmp_path)
    assert "(" not in ganbench_cli("report", tmp_path)[1].partition(",")[0]
