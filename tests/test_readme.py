"""The README shows a run as it is kept, and says the same in both languages."""

import collections
import re
from pathlib import Path

from ganbench.report.export import render
from ganbench.report.table import by_speed, heading, summary
from ganbench.report.text import markdown
from ganbench.results.run import open_run
from ganbench.results.table import run_table

ROOT = Path(__file__).resolve().parents[1]
ENGLISH, CHINESE = (ROOT / name for name in ("README.md", "README.zh-CN.md"))
SHOWN = re.compile(r"<!-- (results/\S+\.jsonl) -->\n(.*?)<!-- end -->", re.DOTALL)
CODE = re.compile(r"```.*?```", re.DOTALL)


def test_the_short_table_is_the_run_it_names():
    for path in (ENGLISH, CHINESE):
        ((name, shown),) = SHOWN.findall(path.read_text())
        run = open_run(ROOT / name)
        assert shown.strip() == f"{heading(run.header)}\n\n{markdown(summary(run, by_speed(run_table(run))))}"


def test_the_whole_of_that_run_is_one_click_away():
    ((name, shown),) = SHOWN.findall((ROOT / "docs" / "example-run.md").read_text())
    assert name == SHOWN.findall(ENGLISH.read_text())[0][0]
    assert shown.strip() == render(open_run(ROOT / name), "markdown").strip()


def test_both_languages_have_the_same_commands_numbers_and_links():
    english, chinese = (path.read_text() for path in (ENGLISH, CHINESE))
    assert CODE.findall(english) == CODE.findall(chinese)
    english, chinese = (SHOWN.sub("", CODE.sub("", text)) for text in (english, chinese))
    for pattern in (r"\d+(?:[.,]\d+)*", r"`[^`]+`", r"\]\((?!README)([^)]+)\)"):
        counts = [collections.Counter(re.findall(pattern, text)) for text in (english, chinese)]
        assert counts[0] == counts[1]


def test_the_welcome_of_the_site_does_not_repeat_the_readme():
    welcome, readme = (ROOT / "docs" / "index.md").read_text(), " ".join(ENGLISH.read_text().split())
    assert "../README.md" in welcome
    sentences = [" ".join(one.split()) for one in re.split(r"(?<=[.:?])\s", welcome)]
    assert [one for one in sentences if len(one) > 40 and one in readme] == []
    assert "```" not in welcome
