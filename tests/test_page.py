"""``ganbench report --html``: the page in a real browser, without a network, shows what ``load_results`` has."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import Shown
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import ganbench
from ganbench.errors import UsageError
from ganbench.report.answer import answer
from ganbench.report.recommendation import candidates, recommend
from ganbench.report.relative import mean
from ganbench.report.web import page
from ganbench.results.records import digits
from ganbench.results.run import find_run, open_run

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[1]
LIMIT_RUN = "20261126T165319Z-4c90"  # of eight targets, the newest of xeon-2c
XEON = "#machine=xeon-2c&source=compare&model=mnist-mlp"
ONE_ROUND = "20261127T111916Z-67f8"  # of four targets
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\u202e\"'&"


@pytest.fixture(scope="module")
def table(committed):
    return ganbench.load_results(committed)


def test_the_page_is_one_file_of_less_than_a_megabyte_and_a_half(written):
    assert written.stat().st_size <= 1.5e6
    text = written.read_text()
    assert 'src="http' not in text
    assert '<link rel="stylesheet"' not in text


def test_every_number_is_that_of_load_results(driver, written, table):
    shown = Shown(driver, written, XEON)
    run = table[(table["run_id"] == LIMIT_RUN)].set_index("target")
    cells = shown.cells()
    assert {target for _, target in cells} == set(run.index)
    for (case, target), cell in cells.items():
        assert case == "gan_iteration batch 128"
        assert float(cell["value"]) == run.loc[target, "ratio"]
        assert float(cell["median"]) == digits(run.loc[target, "median_s"], 7)
        assert cell["verdict"] == run.loc[target, "verdict"]
    shown.choose("key-machine", "epyc-2c")
    shown.choose("baseline", "numpy")
    mine = table[(table["machine"] == "epyc-2c") & (table["source"] == "compare") & (table["status"] == "ok")]
    expected = {(row.operation, row.target): row.ratio for row in mine.itertuples() if not pd.isna(row.ratio)}
    assert {key: float(cell["value"]) for key, cell in shown.cells().items()} == expected


def test_the_winner_is_read_and_one_that_is_not_sure_is_not_named(driver, written):
    shown = Shown(driver, written, XEON)
    assert shown.text("answer") == (
        "torch.manual is fastest: 2.15 times torch.textbook [2.13, 2.18]; "
        "mnist-mlp, gan_iteration batch 128, float32, 2 threads, xeon-2c"
    )
    assert "★" in shown.run("return document.querySelector('td[data-target=\"torch.manual\"]').textContent")
    box = shown.run(
        "return [...document.querySelectorAll('#operations input')].find((one) => one.value.endsWith('batch 512'))"
    )
    shown.run("document.querySelector('#choices details').open = true")
    box.click()
    shown.wait()
    shown.choose("baseline", "torch")
    assert (
        "torch.manual or jax.scan may be fastest (more rounds may decide it: --budget, --rigor full); mnist-mlp, "
        "gan_iteration batch 512, float32, 2 threads, xeon-2c" in shown.text("answers")
    )


def run_of(comparison):
    return open_run(comparison.path)


def comparison_of(path):
    run = open_run(path)
    return ganbench.Comparison(run.records, run.path, run.ended)


@pytest.mark.parametrize("name", ["three targets", "20261123T073125Z-9877", ONE_ROUND])
def test_who_wins_is_what_the_comparison_says_whatever_the_baseline(driver, craft, tmp_path, name):
    """Every speed, interval, verdict, mark and mean of the page, and who is first after how many iterations."""
    run = craft(tmp_path, {"torch": 2.0, "jax": 4.0}) if name == "three targets" else find_run(name, ROOT / "results")
    path, comparison = tmp_path / "page.html", comparison_of(run)
    path.write_text(page(run, ganbench.load_results(run)), encoding="utf-8")
    shown = Shown(driver, path)
    for baseline in comparison.to_pandas()["target"].unique():
        shown.choose("baseline", baseline)
        expected = comparison.relative_to(baseline)
        cells = {(case.split()[0], target): cell for (case, target), cell in shown.cells().items()}
        assert set(cells) == set(zip(expected["operation"], expected["target"], strict=True))
        for row in expected.itertuples():
            cell = cells[row.operation, row.target]
            numbers = [float(cell[key] or "nan") for key in ("value", "low", "high")]
            assert np.array_equal(numbers, [row.ratio, row.ratio_low, row.ratio_high], equal_nan=True)
            assert (cell["verdict"], cell["fastest"]) == (row.verdict, row.fastest)
            text = shown.run("return [...document.querySelectorAll('#matrix td')].find((one) => one.dataset.case?."
                             "split(' ')[0] === arguments[0] && one.dataset.target === arguments[1]).textContent",
                             row.operation, row.target)  # fmt: skip
            assert [mark for mark in "★☆" if mark in text] == {"surely": ["★"], "maybe": ["☆"], "": []}[row.fastest]
        means = shown.run("return Object.fromEntries([...document.querySelectorAll('#matrix td[data-mean]')]"
                          ".map((cell) => [cell.dataset.mean, Number(cell.dataset.value)]))")  # fmt: skip
        speeds = expected.groupby("target")["ratio"].apply(mean).to_dict()
        assert means == (speeds if expected["operation"].nunique() > 1 else {})
        said = [shown.text("answer"), *shown.text("answers").splitlines()]
        for case in expected["operation"].unique():
            (words,) = (words for words in said if re.search(rf", {case}\b", words))
            mine = expected[expected["operation"] == case]
            assert ("may be fastest" not in words) == (mine["fastest"] == "surely").any()
            assert all(target in words for target in mine.loc[mine["fastest"] != "", "target"])
        if baseline == run_of(comparison).header.baseline:
            assert said[0] == answer(run_of(comparison), comparison.to_pandas())
    taking_part, _, control = candidates(comparison, comparison.to_pandas())
    field = driver.find_element(By.ID, "iterations")
    for count in (1, 100, 1_000, 4_000, 20_000, 10_000_000):
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(f"{count}\t")
        shown.wait()
        found = recommend(taking_part, count, control)
        first = shown.run("return {...document.querySelector('#first').dataset}")
        assert first["first"] == found.first.target
        assert set(first["rivals"].split()) == {standing.target for standing in found.rivals}
        assert ("surely first" in shown.text("first")) == (not found.rivals)


def test_after_a_single_round_nobody_is_surely_first(driver, tmp_path):
    run = find_run(ONE_ROUND, ROOT / "results")
    path = tmp_path / "page.html"
    path.write_text(page(run, ganbench.load_results(run)), encoding="utf-8")
    shown = Shown(driver, path)
    assert "is first, but it cannot be told from" in shown.text("first")
    assert "surely" not in shown.text("first")
    assert "★" not in shown.text("matrix")


def test_the_readers_number_of_iterations_names_the_winner(driver, written, table):
    run = table[table["run_id"] == LIMIT_RUN].set_index("target")
    shown = Shown(driver, written, XEON)
    field = driver.find_element(By.ID, "iterations")
    for count in (10, 1_000_000):
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(f"{count}\t")
        shown.wait()
        total = run["import_s"] + run["first_call_s"] + count * run["median_s"]
        assert f"{count:,} iterations of gan_iteration batch 128: {total.idxmin()} (" in shown.text("first")
        assert f"iterations={count}" in shown.run("return location.hash")


CHARTS = ("ratios", "samples", "pays", "roofline", "scaling", "history", "memory", "training")


def sections(shown):
    """Return of each section whether it is shown, and its link too."""
    return dict(shown.run(
        "return [...document.querySelectorAll('section')].map((one) => [one.id, one.offsetParent !== null, "
        "document.querySelector(`nav a[data-section=${one.id}]`).offsetParent !== null])"
        ".map(([id, here, link]) => [id, here === link && here])"
    ))  # fmt: skip


def test_every_section_is_drawn_or_not_shown_and_the_end_says_why_not(driver, written):
    shown = Shown(driver, written, XEON)
    for name in CHARTS:
        assert shown.run(f"return document.querySelector('#chart-{name} svg') !== null"), name
    assert [name for name, there in sections(shown).items() if not there] == ["energy"]
    assert "Energy: not measured: 'ganbench compare --energy' does it" in shown.text("absent")
    shown.choose("key-source", "asv")
    assert "Nothing was measured with these choices" in shown.text("answer")
    driver.find_element(By.CSS_SELECTOR, "#near a").click()
    shown.until(lambda: shown.text("near") == "")
    for name in CHARTS:
        drawn = shown.run(f"return document.querySelector('#chart-{name} svg') !== null")
        section = shown.run(f"return document.querySelector('#chart-{name}').closest('section').id")
        assert drawn or not sections(shown)[section] or section == "limit"


def test_the_visits_of_a_case_are_drawn_as_they_lie(driver, written, table):
    """Eleven points of a target: the fastest visit, each tenth, the slowest."""
    shown = Shown(driver, written, f"{XEON}&targets=jax.scan")
    labels = shown.run(
        "return [...document.querySelectorAll('#chart-samples .mark-symbol.role-mark path')]"
        ".map((one) => one.getAttribute('aria-label'))"
    )
    (samples,) = table.loc[(table["run_id"] == LIMIT_RUN) & (table["target"] == "jax.scan"), "samples"]
    drawn = [float(re.search(r"time: ([\d.e-]+)", label)[1]) for label in labels]
    assert drawn == pytest.approx(np.quantile(samples, np.linspace(0, 1, 11)), rel=1e-3)
    assert "gan_iteration batch 128" in shown.text("scatter")


def test_a_share_is_shown_only_where_it_says_something(driver, written):
    """In the toy model a call takes longer than its work; nothing there is limited by compute at less than 1 %."""
    shown = Shown(driver, written, "#machine=xeon-2c&source=compare&model=tiny")
    lines = [line.split() for line in shown.text("shares").splitlines()[1:]]
    assert "call" in {line[-2] if line[-1] == "—" else line[-3] for line in lines}
    assert not any(" 0 %" in line for line in shown.text("shares").splitlines())
    assert not any(re.search(r"< 1 % (compute|memory)", line) for line in shown.text("shares").splitlines())


def test_conditions_and_raw_rows_are_there(driver, written, table):
    shown = Shown(driver, written, XEON)
    said = shown.text("conditions")
    for fact in (LIMIT_RUN, "float32, ieee", "33e59ef"):
        assert fact in said
    assert "oneAPI" not in said
    shown.run("document.querySelectorAll('#conditions details details').forEach((one) => { one.open = true; })")
    for fact in ("2.13.0+cpu", "oneAPI Math Kernel Library", "denormals kept"):
        assert fact in shown.text("conditions")
    shown.run("URL.createObjectURL = (blob) => { window.blob = blob; return '#'; }")
    driver.find_element(By.ID, "csv").click()
    text = driver.execute_async_script("window.blob.text().then(arguments[0])")
    lines = text.splitlines()
    assert "median_s" in lines[0]
    assert len(lines) - 1 == len(table) - _older(table)


def _older(table):
    from ganbench.report.selection import select

    return len(table) - len(select(table).rows)


def test_other_peoples_names_are_text(driver, committed, table, tmp_path):
    rows = table[table["run_id"] == LIMIT_RUN].copy()
    rows["machine"] = rows["preset"] = HOSTILE
    rows.loc[rows["target"] == "numpy", "status"] = "failed"
    rows.loc[rows["target"] == "numpy", "reason"] = HOSTILE
    rows["target"] = rows["target"].replace("torch", HOSTILE)
    path = tmp_path / "page.html"
    path.write_text(page(committed, rows, title=HOSTILE), encoding="utf-8")
    shown = Shown(driver, path)
    assert shown.run("return window.hacked") is None
    assert "</script><script>window.hacked = 1</script>" in shown.text("reasons")
    assert "\\u202e" in shown.text("matrix")
    assert "\u202e" not in shown.text("matrix") + shown.text("reasons")


def test_machines_stand_side_by_side(driver, written, committed):
    """Of the chosen model all that several machines measured, in the words of ``report --across``."""
    shown = Shown(driver, written, f"{XEON}&operations=gan_iteration+batch+128")
    printed = subprocess.run(
        [sys.executable, "-m", "ganbench.cli", "report", committed, "--across", "--format", "markdown",
         "--ops", "gan_iteration"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    cells = set(re.findall(r"[\d.]+ \[[\d., ]+\] \w+", printed))
    found = re.findall(r"[\d.]+ \[[\d., ]+\] \w+", shown.text("beside"))
    assert found
    assert set(found) <= cells
    assert {"xeon-2c", "epyc-2c"} <= set(shown.text("beside").split())


def test_one_machine_stands_alone(driver, committed, table, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page(committed, table[table["machine"] == "xeon-2c"]), encoding="utf-8")
    shown = Shown(driver, path)
    assert not sections(shown)["machines"]
    assert "Machines: these results are of one machine" in shown.text("absent")


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_scrolls_one_way_only(driver, written, dark):
    shown = Shown(driver, written, width=360, dark=dark)
    assert shown.run("return document.documentElement.scrollWidth <= innerWidth")
    assert shown.run("return getComputedStyle(document.body).backgroundColor") == (
        "rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)"
    )


@pytest.mark.parametrize("length", [5, 15, 25])
def test_names_of_any_length_leave_a_phone_its_width(driver, committed, table, tmp_path, length):
    """A chart becomes as wide as its legend wants, and must scroll by itself."""
    rows = table[table["run_id"] == LIMIT_RUN].copy()
    rows["target"] = [f"{number}{'m' * length}" for number in range(len(rows))]
    path = tmp_path / "page.html"
    path.write_text(page(committed, rows), encoding="utf-8")
    shown = Shown(driver, path, width=360)
    assert shown.run("return document.documentElement.scrollWidth <= innerWidth")
    whole = set(rows["target"])  # and no label is cut
    for name in ("ratios", "pays"):
        words = shown.run(f"return [...document.querySelectorAll('#chart-{name} text')].map((one) => one.textContent)")
        assert whole <= set(words)


def test_the_screenshot_of_the_documents_is_of_this_page(driver, written, tmp_path):
    """It is taken each time; ``GANBENCH_PICTURES=docs/pictures`` puts it where the documents show it."""
    path = Path(os.environ.get("GANBENCH_PICTURES", tmp_path)) / "page.png"
    Shown(driver, written, width=1000).picture(path, 1240)
    Image.open(path).quantize(64).save(path, optimize=True)
    taken, committed = (Image.open(one).convert("L") for one in (path, ROOT / "docs" / "pictures" / "page.png"))
    assert taken.size == committed.size == (1000, 1240)
    # Alike when seen from far: fonts may differ from machine to machine, what stands where does not.
    far = [np.asarray(one.resize((25, 31)), dtype=float) for one in (taken, committed)]
    assert np.abs(far[0] - far[1]).mean() < 6


def test_a_hundred_thousand_rows_fit(committed, table):
    parts = []
    for number in range(100_000 // len(table) + 1):
        late = {"timestamp": table["timestamp"] + pd.Timedelta(hours=number), "commit": f"{number:08x}"}
        parts.append(table.assign(**late, run_id=table["run_id"] + str(number), machine=f"machine-{number % 50}"))
    text = page(committed, pd.concat(parts, ignore_index=True))
    assert len(text.encode()) < 5e6
    assert "rows are left out, those of the oldest runs" in text


def test_a_page_of_nothing_is_refused(committed, table):
    with pytest.raises(UsageError, match="no results to report"):
        page(committed, table.iloc[:0])
