"""What a reader of the page sees first, and what a choice, a link, a click and a printer do to it."""

import json
import re
from urllib.parse import urlencode

import pytest
from browser import Shown
from selenium.webdriver.common.by import By

import ganbench
from ganbench.report.answer import answer
from ganbench.report.web import page
from ganbench.results.run import open_run
from ganbench.results.table import run_table

pytestmark = pytest.mark.browser
XEON = "#machine=xeon-2c&source=compare&model=mnist-mlp"


def test_a_link_shows_the_same(driver, written):
    shown = Shown(driver, written, XEON)
    shown.choose("baseline", "jax.scan")
    assert shown.cells()["gan_iteration batch 128", "jax.scan"]["value"] == "1"
    address = shown.run("return location.hash")
    assert "baseline=jax.scan" in address
    before = shown.cells()
    assert Shown(driver, written, address).cells() == before


def test_rows_of_asv_say_that_nothing_was_measured_side_by_side(driver, written):
    source = {"source": "asv", "machine": "epyc-2c"}
    shown = Shown(driver, written, f"#{urlencode(source)}")
    assert "may be fastest (not measured side by side: 'ganbench compare --backends " in shown.text("answer")
    assert "not measured side by side" in shown.text("matrix")
    assert shown.run("return document.querySelectorAll('#matrix td[data-verdict=undecided]').length") == 0


def test_a_machine_has_a_line_only_where_it_measured(driver, craft, tmp_path):
    both = [craft(tmp_path / "r", operations=["matmul", "adam_step"], machine=name) for name in ("old", "new")]
    craft(tmp_path / "r", operations=["matmul"], machine="third")
    path = tmp_path / "page.html"
    path.write_text(page(both[0].parents[2], ganbench.load_results(both[0].parents[2])), encoding="utf-8")
    lines = re.findall(r"^(matmul|adam_step|old|new|third)\b", Shown(driver, path).text("beside"), re.M)
    of = {lines[at]: set(lines[at + 1 : at + 4]) for at in (0, 4)}
    assert of["matmul"] == {"old", "new", "third"}
    assert of["adam_step"] == {"old", "new"}


def test_a_keyboard_and_a_screen_reader_find_every_choice(driver, written):
    shown = Shown(driver, written, XEON)
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


def test_the_first_screen_is_the_context_with_most_evidence_and_no_toy(driver, craft, tmp_path):
    """Two targets on one operation are less than four; the newest run, of the toy, yields to both."""
    other = {"spec": json.loads(craft(tmp_path / "x").read_text().splitlines()[0])["spec"] | {"name": "mine"}}
    craft(tmp_path / "r", {"torch": 2.0, "jax": 4.0, "cupy": 3.0}, machine="old", **other)
    craft(tmp_path / "r", {"torch": 2.0}, machine="new", **other)
    craft(tmp_path / "r", {"torch": 2.0, "jax": 5.0, "cupy": 3.0}, machine="toy")
    path = tmp_path / "page.html"
    path.write_text(page(tmp_path / "r", ganbench.load_results(tmp_path / "r")), encoding="utf-8")
    shown = Shown(driver, path, width=390)
    assert re.match(
        r"jax is fastest: 4\.00 times numpy \[\S+ \S+\]; mine.*, gan_iteration, float32, .*, old", shown.text("answer")
    )
    assert shown.run("return document.querySelector('#answer').getBoundingClientRect().bottom") < 844 / 2
    rows = shown.run("return [...document.querySelectorAll('#matrix tbody th')].map((one) => one.textContent)")
    assert rows == ["jax", "cupy", "torch", "numpy"]
    assert shown.run("return getComputedStyle(document.querySelector('#matrix tbody th')).position") == "sticky"
    assert shown.run("return document.querySelector('#matrix').parentNode.classList.contains('more')")


def test_where_nothing_is_sure_it_says_who_may_be_and_what_would_decide(driver, craft, tmp_path):
    path = tmp_path / "page.html"
    run = craft(tmp_path / "r", {"torch": 2.0, "jax": 2.0})
    path.write_text(page(run, ganbench.load_results(run)), encoding="utf-8")
    said = Shown(driver, path).text("answer")
    assert re.match(r"(jax or torch|torch or jax) may be fastest \(more rounds may decide it: --budget", said)
    assert said == answer(open_run(run), run_table(open_run(run)))


def test_a_choice_changes_what_it_says_and_nothing_else_and_the_way_back_undoes_it(driver, written):
    shown = Shown(driver, written, XEON)
    keys = "return Object.fromEntries([...document.querySelectorAll('#keys select')].map((one) => [one.id, one.value]))"
    before, answered = shown.run(keys), shown.text("answer")
    shown.choose("key-dtype", "float64")
    assert shown.run(keys) == before | {"key-dtype": "float64"}
    assert shown.text("answer").startswith("Nothing was measured with these choices: xeon-2c, compare, mnist-mlp, ")
    assert not shown.run("return document.querySelector('main').offsetParent")
    near = driver.find_elements(By.CSS_SELECTOR, "#near a")
    assert near[0].text == "xeon-2c, mnist-mlp, float32 ieee, 2 threads, measured by compare"
    driver.back()
    shown.until(lambda: shown.text("answer") == answered)
    shown.choose("baseline", "numpy")
    driver.find_element(By.LINK_TEXT, "When it pays").click()
    shown.until(lambda: "section=pays" in shown.run("return location.hash"))
    assert "baseline=numpy" in shown.run("return location.hash")
    assert abs(shown.run("return document.querySelector('#pays').getBoundingClientRect().top")) < 40
    assert shown.run("return document.querySelector('#baseline').value") == "numpy"


@pytest.mark.parametrize("wrong", ["baseline=nobody", "targets=nobody", "operations=nothing+at+all"])
def test_a_link_to_what_is_not_there_says_so(driver, written, wrong):
    shown = Shown(driver, written, f"{XEON}&{wrong}")
    asked = wrong.partition("=")[2].replace("+", " ")
    assert shown.text("left") == f"not measured here, so not shown: {asked}"
    assert shown.cells()
    assert "Nothing was measured" in Shown(driver, written, "#machine=nowhere").text("answer")


def test_the_slider_moves_its_own_line_and_draws_nothing_anew(driver, written):
    shown = Shown(driver, written, XEON)
    shown.run("document.querySelectorAll('.chart svg').forEach((one, i) => { one.mark = i; })")
    rule = "return document.querySelector('#chart-pays .mark-rule.role-mark line').getBoundingClientRect().x"
    before, said = shown.run(rule), shown.text("first")
    shown.run("slider.value = 5; slider.dispatchEvent(new Event('input'))")
    shown.until(lambda: shown.run(rule) > before)
    assert shown.text("first") != said
    assert shown.text("first").startswith("100,000 iterations")
    shown.run("slider.dispatchEvent(new Event('change'))")
    shown.wait()
    assert "iterations=100000" in shown.run("return location.hash")
    assert shown.run("return [...document.querySelectorAll('.chart svg')].every((one, i) => one.mark === i)")


def test_print_cuts_nothing_and_says_in_each_section_of_what_it_is(driver, written):
    shown = Shown(driver, written, width=718, media="print")
    assert shown.run("return document.documentElement.scrollWidth <= innerWidth")
    cut = (
        "return [...document.querySelectorAll('.wide, .chart, td, th')].filter((one) => one.offsetParent && "
        "one.scrollWidth > one.clientWidth + 1).map((one) => one.outerHTML.slice(0, 200))"
    )
    assert shown.run(cut) == []
    where = shown.run(
        "return [...document.querySelectorAll('h2')].map((one) => getComputedStyle(one, '::after').content)"
    )
    assert all("epyc-2c, mnist-mlp, float32 ieee, 2 threads" in words for words in where)


def test_a_table_is_sorted_by_its_headings_and_copied_as_markdown(driver, written):
    shown = Shown(driver, written, XEON)
    order = "return [...document.querySelectorAll('#matrix tbody th')].map((one) => one.textContent)"
    speeds = {target: float(cell["value"]) for (_, target), cell in shown.cells().items()}
    fastest = sorted(speeds, key=speeds.get, reverse=True)
    driver.find_elements(By.CSS_SELECTOR, "#matrix thead button")[0].click()
    assert shown.run(order) == sorted(speeds)
    for expected in (fastest, fastest[::-1]):
        driver.find_elements(By.CSS_SELECTOR, "#matrix thead button")[1].click()
        assert shown.run(order) == expected
    shown.run("navigator.clipboard.writeText = async (text) => { window.copiedText = text; }")
    driver.find_element(By.CSS_SELECTOR, "#wins .copy").click()
    lines = shown.run("return window.copiedText").strip().splitlines()
    assert lines[2].startswith("| target | gan_iteration batch 128 |")
    assert len(lines) == 4 + len(speeds)
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_a_target_is_switched_off_by_its_legend(driver, written):
    shown = Shown(driver, written, XEON)
    (label,) = [
        one for one in driver.find_elements(By.CSS_SELECTOR, "#chart-pays .role-legend-label text") if one.text == "jax"
    ]
    symbols = "document.querySelectorAll('#chart-pays .role-legend-symbol path')"
    colours = f"return [...{symbols}].map((one) => one.getAttribute('stroke'))"
    before = shown.run(colours)
    label.click()
    shown.wait()
    legend = [one.text for one in driver.find_elements(By.CSS_SELECTOR, "#chart-pays .role-legend-label text")]
    assert "jax" not in legend
    assert len(legend) == len(before) - 1
    assert set(shown.run(colours)) < set(before)
    assert "jax" not in [target for _, target in shown.cells()]
    assert shown.text("left") == "left out: jax"


def test_thirty_targets_look_different(driver, craft, tmp_path):
    path = tmp_path / "page.html"
    run = craft(tmp_path / "r", {f"torch.m{number}": 1 + number / 10 for number in range(29)})
    path.write_text(page(run, ganbench.load_results(run)), encoding="utf-8")
    shown = Shown(driver, path)
    for marks in (
        "#chart-pays .mark-line path",
        "#chart-pays .role-legend-symbol path",
        "#chart-samples .role-legend-symbol path",
    ):
        lines = shown.run(
            "return [...document.querySelectorAll(arguments[0])]"
            ".map((one) => one.getAttribute('stroke') + ' ' + one.getAttribute('stroke-dasharray'))",
            marks,
        )
        assert len(lines) == len(set(lines)) == 30


def test_a_change_of_several_runs_of_two_commits_is_confirmed(driver, craft, tmp_path):
    for commit, speeds in (("a", [2.0, 2.01]), ("b", [3.0, 3.01]), ("c", [3.9])):
        for speed in speeds:
            craft(tmp_path / "results", {"torch": speed}, commit=commit * 40, dirty=False)
    path = tmp_path / "page.html"
    path.write_text(page(tmp_path / "results", ganbench.load_results(tmp_path / "results")), encoding="utf-8")
    (said,) = [one for one in Shown(driver, path).text("changes").splitlines() if "matmul on " in one]
    assert said.endswith(": matmul on torch is faster than at the commit before, confirmed by two runs or more of both")
