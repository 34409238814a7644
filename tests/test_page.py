"""``ganbench report --html``: the page in a real browser, without a network, shows what ``load_results`` has."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import Shown, chromium
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import ganbench
from ganbench.errors import UsageError
from ganbench.report.recommendation import candidates, recommend
from ganbench.report.relative import mean
from ganbench.report.web import page
from ganbench.results.run import find_run, open_run

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[1]
LIMIT_RUN = "20261126T165319Z-4c90"  # of eight targets, the newest of xeon-2c
ONE_ROUND = "20261127T111916Z-67f8"  # of four targets
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\u202e\"'&"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """This repository's results as they were committed: tests must not depend on what is measured later."""
    folder = tmp_path_factory.mktemp("page") / "results"
    for name in ("xeon-2c", "epyc-2c"):
        shutil.copytree(ROOT / "results" / name, folder / name)
    newer = [path for path in folder.glob("*/compare/*") if path.stem > LIMIT_RUN]
    for path in newer:
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def table(results):
    return ganbench.load_results(results)


@pytest.fixture(scope="module")
def written(results, table):
    path = results.parent / "page.html"
    path.write_text(page(results, table), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        yield driver


def test_the_page_is_one_file_of_less_than_a_megabyte_and_a_half(written):
    assert written.stat().st_size <= 1.5e6
    text = written.read_text()
    assert 'src="http' not in text
    assert '<link rel="stylesheet"' not in text


def test_every_number_is_that_of_load_results(driver, written, table):
    shown = Shown(driver, written)
    run = table[(table["run_id"] == LIMIT_RUN)].set_index("target")
    cells = shown.cells()
    assert {target for _, target in cells} == set(run.index)
    for (case, target), cell in cells.items():
        assert case == "gan_iteration batch 128"
        assert float(cell["value"]) == run.loc[target, "ratio"]
        assert float(cell["median"]) == run.loc[target, "median_s"]
        assert cell["verdict"] == run.loc[target, "verdict"]
    shown.choose("key-machine", "epyc-2c")
    shown.choose("baseline", "numpy")
    mine = table[(table["machine"] == "epyc-2c") & (table["source"] == "compare") & (table["status"] == "ok")]
    expected = {(row.operation, row.target): row.ratio for row in mine.itertuples() if not pd.isna(row.ratio)}
    assert {key: float(cell["value"]) for key, cell in shown.cells().items()} == expected


def test_the_winner_is_read_and_one_that_is_not_sure_is_not_named(driver, written):
    shown = Shown(driver, written)
    assert "gan_iteration batch 128: torch.manual is fastest, 2.15 times the speed of torch.textbook" in shown.text(
        "answers"
    )
    assert "★" in shown.run("return document.querySelector('td[data-target=\"torch.manual\"]').textContent")
    box = shown.run(
        "return [...document.querySelectorAll('#operations input')].find((one) => one.value.endsWith('batch 512'))"
    )
    shown.run("document.querySelector('#choices details').open = true")
    box.click()
    shown.wait()
    shown.choose("baseline", "torch")
    assert "batch 512: cannot tell torch.manual and jax.scan apart; each may be the fastest" in shown.text("answers")


def comparison_of(path):
    run = open_run(path)
    return ganbench.Comparison(run.records, run.path, run.ended)


@pytest.mark.parametrize("name", ["three targets", "20261123T073125Z-9877", ONE_ROUND])
def test_who_wins_is_what_the_comparison_says_whatever_the_baseline(driver, craft, tmp_path, name):
    """Every speed, interval, verdict, mark and mean of the page, and who is first after how many iterations."""
    run = craft(tmp_path, {"torch": 2.0, "jax": 4.0}) if name == "three targets" else find_run(name, ROOT / "results")
    table, comparison = ganbench.load_results(run), comparison_of(run)
    path = tmp_path / "page.html"
    path.write_text(page(run, table), encoding="utf-8")
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
        said = dict(line.split(": ", 1) for line in shown.text("answers").splitlines())
        for case, words in said.items():
            mine = expected[expected["operation"] == case.split()[0]]
            assert ("cannot tell" not in words) == (mine["fastest"] == "surely").any()
            assert all(target in words for target in mine.loc[mine["fastest"] != "", "target"])
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


def test_a_link_shows_the_same(driver, written):
    shown = Shown(driver, written)
    shown.choose("baseline", "jax.scan")
    assert shown.cells()["gan_iteration batch 128", "jax.scan"]["value"] == "1"
    address = shown.run("return location.hash")
    assert "baseline=jax.scan" in address
    before = shown.cells()
    assert Shown(driver, written, address).cells() == before


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
    shown = Shown(driver, written)
    field = driver.find_element(By.ID, "iterations")
    for count in (10, 1_000_000):
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(f"{count}\t")
        shown.wait()
        total = run["import_s"] + run["first_call_s"] + count * run["median_s"]
        assert f"{count:,} iterations of gan_iteration batch 128: {total.idxmin()} (" in shown.text("first")
        assert f"iterations={count}" in shown.run("return location.hash")


def test_every_section_is_drawn_or_says_why_not(driver, written):
    shown = Shown(driver, written)
    for name in ("ratios", "pays", "roofline", "scaling", "history", "memory", "training"):
        assert shown.run(f"return document.querySelector('#chart-{name} svg') !== null"), name
    shown.choose("key-source", "asv")
    for name in ("ratios", "pays", "roofline", "scaling", "history", "memory", "training"):
        box = f"document.querySelector('#chart-{name}')"
        assert shown.run(
            f"return {box}.querySelector('svg') !== null || {box}.textContent.startsWith('Nothing to draw: ')"
        )
    assert "unavailable" in shown.text("matrix") or "derived" in shown.text("matrix")


def test_conditions_and_raw_rows_are_there(driver, written, table):
    shown = Shown(driver, written)
    said = shown.text("conditions")
    for fact in (LIMIT_RUN, "float32, ieee", "2.13.0+cpu", "oneAPI Math Kernel Library", "denormals kept", "33e59ef"):
        assert fact in said
    shown.run("URL.createObjectURL = (blob) => { window.blob = blob; return '#'; }")
    driver.find_element(By.ID, "csv").click()
    text = driver.execute_async_script("window.blob.text().then(arguments[0])")
    lines = text.splitlines()
    assert "median_s" in lines[0]
    assert len(lines) - 1 == len(table) - _older(table)


def _older(table):
    from ganbench.report.selection import select

    return len(table) - len(select(table).rows)


def test_other_peoples_names_are_text(driver, results, table, tmp_path):
    rows = table[table["run_id"] == LIMIT_RUN].copy()
    rows["machine"] = rows["preset"] = HOSTILE
    rows.loc[rows["target"] == "numpy", "status"] = "failed"
    rows.loc[rows["target"] == "numpy", "reason"] = HOSTILE
    rows["target"] = rows["target"].replace("torch", HOSTILE)
    path = tmp_path / "page.html"
    path.write_text(page(results, rows, title=HOSTILE), encoding="utf-8")
    shown = Shown(driver, path)
    assert shown.run("return window.hacked") is None
    assert "</script><script>window.hacked = 1</script>" in shown.text("reasons")
    assert "\\u202e" in shown.text("matrix")
    assert "\u202e" not in shown.text("matrix") + shown.text("reasons")


def test_machines_stand_side_by_side(driver, written, results, table):
    shown = Shown(driver, written)
    shown.run("document.querySelector('#machines details').open = true")
    text = shown.text("machines")
    printed = subprocess.run(
        [sys.executable, "-m", "ganbench.cli", "report", results, "--across", "--format", "markdown"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    cells = re.findall(r"[\d.]+ \[[\d., ]+\] \w+", printed)
    assert cells
    assert re.findall(r"[\d.]+ \[[\d., ]+\] \w+", text) == cells


def test_one_machine_stands_alone(driver, results, table, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page(results, table[table["machine"] == "xeon-2c"]), encoding="utf-8")
    assert "All of these results are of one machine" in Shown(driver, path).text("machines")


def test_a_keyboard_and_a_screen_reader_find_every_choice(driver, written):
    shown = Shown(driver, written)
    nameless = shown.run(
        "return [...document.querySelectorAll('input, select, button')].filter((one) => !(one.labels?.length || "
        "one.getAttribute('aria-label') || one.textContent.trim())).map((one) => one.outerHTML)"
    )
    assert nameless == []
    assert shown.run("return [...document.querySelectorAll('table th')].every((one) => one.scope)")
    shown.run("document.querySelector('#baseline').focus()")
    driver.switch_to.active_element.send_keys("numpy.in")
    shown.wait()
    assert "baseline=numpy.inplace" in shown.run("return location.hash")
    assert shown.run("return document.activeElement.id") == "baseline"


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_scrolls_one_way_only(driver, written, dark):
    shown = Shown(driver, written, width=360, dark=dark)
    assert shown.run("return document.documentElement.scrollWidth <= innerWidth")
    assert shown.run("return getComputedStyle(document.body).backgroundColor") == (
        "rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)"
    )


@pytest.mark.parametrize("length", [5, 15, 25])
def test_names_of_any_length_leave_a_phone_its_width(driver, results, table, tmp_path, length):
    """A chart becomes as wide as its legend wants, and must scroll by itself."""
    rows = table[table["run_id"] == LIMIT_RUN].copy()
    rows["target"] = [f"{number}{'m' * length}" for number in range(len(rows))]
    path = tmp_path / "page.html"
    path.write_text(page(results, rows), encoding="utf-8")
    assert Shown(driver, path, width=360).run("return document.documentElement.scrollWidth <= innerWidth")


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


def test_a_hundred_thousand_rows_fit(results, table):
    parts = []
    for number in range(100_000 // len(table) + 1):
        late = {"timestamp": table["timestamp"] + pd.Timedelta(hours=number), "commit": f"{number:08x}"}
        parts.append(table.assign(**late, run_id=table["run_id"] + str(number), machine=f"machine-{number % 50}"))
    text = page(results, pd.concat(parts, ignore_index=True))
    assert len(text.encode()) < 5e6
    assert "rows are left out, those of the oldest runs" in text


def test_a_page_of_nothing_is_refused(results, table):
    with pytest.raises(UsageError, match="no results to report"):
        page(results, table.iloc[:0])
