"""Charts as pictures: each kind can be drawn, says whose numbers it shows, and what cannot be drawn says why."""

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from patience import LIMIT_S

import ganbench
from ganbench.report import CHARTS, THEMES

ROOT = Path(__file__).resolve().parents[1]
LIMIT_RUN, OVERHEAD_RUN = "20261126T165319Z-4c90", "20261127T165417Z-8c9f"
STARTS = {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "results"
    shutil.copytree(ROOT / "results/xeon-2c", folder / "xeon-2c")
    for path in (folder / "xeon-2c/compare").iterdir():
        if path.stem > LIMIT_RUN:
            path.unlink()
    return folder


def told(model):
    """What a chart says of its context; of this repository's machines of one name the hardware tells them apart."""
    return re.compile(rf"xeon-2c \(Intel.*\), {model}, float32 ieee, 2 threads, measured by compare")


def test_a_chart_is_of_what_is_known_best_and_has_what_it_shows(craft, ganbench_cli, tmp_path):
    """Of one machine there are most targets, of another two runs; the newest run is of the toy."""
    mine = {"spec": {"name": "mine", "generator": [8, 36], "discriminator": [36, 1], "batch": 16}}
    craft(tmp_path / "r", {"torch": 2.0, "jax": 4.0}, machine="old", **mine)
    for _ in range(2):
        craft(tmp_path / "r", {"torch": 2.0}, machine="new", **mine)
    craft(tmp_path / "r", {"torch": 2.0, "jax": 5.0, "cupy": 3.0}, machine="toy")
    for kind, machine in (("ratios", "old"), ("history", "new")):
        path = tmp_path / f"{kind}.svg"
        assert ganbench_cli("report", tmp_path / "r", "--picture", path, "--chart", kind)[0] == 0
        assert any(str(word).startswith(f"{machine}, mine") for word in words_of(path))


def test_a_chart_is_of_a_context_that_has_its_baseline(craft, tmp_path):
    craft(tmp_path, {"torch": 2.0, "jax": 4.0}, machine="has")
    for _ in range(2):
        craft(tmp_path, {"torch": 2.0, "cupy": 4.0, "mlx": 5.0}, machine="lacks")
    made = ganbench.report.chart(ganbench.load_results(tmp_path), baseline="jax").to_dict()
    assert made["title"]["text"] == "Speed relative to jax"
    assert made["title"]["subtitle"].startswith("has, ")


def test_a_study_of_overhead_is_not_drawn_while_there_is_another_run(results, ganbench_cli, tmp_path):
    """It is of the toy model, and the newest."""
    shutil.copytree(results, tmp_path / "results")
    shutil.copy(ROOT / "results/xeon-2c/compare" / f"{OVERHEAD_RUN}.jsonl", tmp_path / "results/xeon-2c/compare")
    for kind in ("ratios", "memory"):
        path = tmp_path / f"{kind}.svg"
        assert ganbench_cli("report", tmp_path / "results", "--picture", path, "--chart", kind)[0] == 0
        assert any(told("mnist-mlp").fullmatch(word or "") for word in words_of(path))


@pytest.mark.parametrize("kind", CHARTS)
def test_every_chart_is_drawn_of_this_repositorys_results(kind, results, ganbench_cli, tmp_path):
    path = tmp_path / f"{kind}.svg"
    code, out, err = ganbench_cli("report", results, "--picture", path, "--chart", kind, "--theme", "dark")
    assert (code, out) == (0, ""), err
    drawn = ET.parse(path)
    words = " ".join(element.text or "" for element in drawn.iter() if element.tag.endswith("text"))
    assert "Losses" in words if kind == "training" else told("mnist-mlp").search(words)


@pytest.mark.parametrize("form", STARTS)
def test_a_picture_has_the_format_of_its_name(form, results, ganbench_cli, tmp_path):
    path = tmp_path / f"ratios.{form.upper()}"
    assert ganbench_cli("report", results, "--picture", path)[0] == 0
    assert path.read_bytes().startswith(STARTS[form])


def size_of(path):
    root = ET.parse(path).getroot()
    letters = {float(size) for one in root.iter() if (size := one.get("font-size", "").removesuffix("px"))}
    return float(root.get("width")), letters


def test_width_letters_model_and_machine_of_a_picture_are_chosen(craft, ganbench_cli, tmp_path):
    craft(tmp_path / "r", {"torch": 3.0}, machine="there")
    spec = {"name": "wide", "generator": [8, 36], "discriminator": [36, 1], "batch": 16}
    craft(tmp_path / "r", {"torch": 4.0}, spec=spec)
    craft(tmp_path / "r", {"torch": 2.0})

    def drawn(*arguments):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.svg"
        code, _, err = ganbench_cli("report", tmp_path / "r", "--picture", path, *arguments)
        assert code == 0, err
        return path

    tiny = "--model", "tiny"  # whose subtitle is no wider than the narrow plot
    usual, usual_letters = size_of(drawn(*tiny))
    narrow, _ = size_of(drawn(*tiny, "--width", 300))
    _, letters = size_of(drawn(*tiny, "--font-size", 21))
    assert usual - narrow == pytest.approx(560 - 300, abs=2)
    assert max(usual_letters) < 21 <= min(letters)
    for chosen, (shown, speed) in {
        (): ("here, wide", "4.00"),
        ("--machine", "there"): ("there, tiny,", "3.00"),
        tiny: ("here, tiny,", "2.00"),
    }.items():
        words = words_of(drawn(*chosen))
        assert any(str(word).startswith(shown) for word in words)
        assert speed in words
    code, _, err = ganbench_cli("report", tmp_path / "r", "--picture", tmp_path / "x.svg", "--model", "deep")
    assert code == 2
    assert "unknown model in these results 'deep' (known: tiny, wide, 8-36 / 36-1)" in err


def words_of(path):
    return [element.text for element in ET.parse(path).iter() if element.tag.endswith("text")]


@pytest.mark.parametrize("theme", THEMES)
def test_the_pictures_of_the_readme_are_those_of_its_run(theme, ganbench_cli, tmp_path):
    name = re.search(r"^<!-- (results/\S+) -->", (ROOT / "README.md").read_text(), re.M)[1]
    assert ganbench_cli("report", ROOT / name, "--picture", tmp_path / "now.svg", "--theme", theme)[0] == 0
    assert words_of(tmp_path / "now.svg") == words_of(ROOT / f"docs/pictures/speeds-{theme}.svg")


def drawn_rows(made):
    """Return the rows of a chart, which Altair names after what they hold."""
    (rows,) = made.to_dict()["datasets"].values()
    return rows


def test_the_chart_of_a_run_shows_its_ratios(craft, tmp_path):
    run = craft(tmp_path, {"torch": 2.0, "jax": 1 / 3})
    made = ganbench.report.chart(ganbench.load_results(run))
    rows = drawn_rows(made)
    table = ganbench.load_results(run).set_index(["operation", "target"])
    for row in rows:
        if row["target"] not in ("control", ""):
            assert row["ratio"] == table.loc[(row["operation"], row["target"]), "ratio"]
    speeds = {row["target"]: row["ratio"] for row in rows if row["case"] == "matmul" and row["ratio"]}
    assert speeds == pytest.approx({"numpy": 1, "torch": 2, "jax": 1 / 3, "control": 1})


def test_another_baseline_is_derived_from_medians_and_says_so(craft, tmp_path):
    table = ganbench.load_results(craft(tmp_path, {"torch": 2.0}))
    rows = drawn_rows(ganbench.report.chart(table, baseline="torch"))
    numpy = next(row for row in rows if row["target"] == "numpy")
    assert numpy["ratio"] == pytest.approx(0.5)
    assert (numpy["verdict"], numpy["ratio_low"]) == ("derived", None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--picture", "x.gif"), "ends in one of .png, .svg, .pdf"),
        (("--picture", "missing/x.png"), "the folder missing does not exist"),
        (("--picture", "x.png", "--chart", "training"), "no chart 'training' of these results"),
        (("--picture", "x.png", "--chart", "pie"), "'pie' is not one of"),
        (("--picture", "x.png", "--baseline", "toch"), "baseline 'toch' is not among the targets"),
        (("--picture", "x.png", "--by", "batch"), "--by, --across, --format and --export belong to the table"),
        (("--html", "x.html", "--format", "csv"), "--by, --across, --format and --export belong to the table"),
        (("--html", "missing/x.html"), "the folder missing does not exist"),
        (("--picture", "x.png", "--width", "10"), "10 is not in the range 100<=x<=4000"),
        (("--picture", "x.png", "--font-size", "0"), "0 is not in the range 4<=x<=60"),
    ],
)
def test_what_cannot_be_drawn_says_why(arguments, said, craft, ganbench_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    craft(tmp_path / "results")
    code, out, err = ganbench_cli("report", "results", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize("option", ["--html", "--picture"])
def test_an_empty_folder_has_nothing_to_show(option, ganbench_cli, tmp_path):
    code, _, err = ganbench_cli("report", tmp_path, option, tmp_path / "x.png")
    assert code == 2
    assert "no results in" in err


@pytest.mark.workers
@pytest.mark.parametrize(("option", "module"), [("--html", "jinja2"), ("--picture", "altair")])
def test_without_the_extra_it_is_named(option, module, craft, tmp_path):
    run = craft(tmp_path)
    script = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        f"sys.modules[{module!r}] = None\n"
        f"u.find_spec = lambda name, *a: None if name == {module!r} else real(name, *a)\n"
        "from ganbench.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script, "report", str(run), option, str(tmp_path / "x.png")],
                          capture_output=True, text=True, timeout=LIMIT_S)  # fmt: skip
    assert done.returncode == 1
    assert 'pip install "ganbench[report]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.workers
def test_compare_draws_what_it_has_measured(ganbench_cli, tmp_path):
    path = tmp_path / "speeds.svg"
    arguments = ("--backends", "numpy,numpy.inplace", "--ops", "adam_step", "--preset", "tiny", "--rounds", "1")
    code, out, err = ganbench_cli("compare", *arguments, "--results", tmp_path, "--picture", path)
    assert code == 0, err
    assert "numpy.inplace" in path.read_text()
    assert "numpy.inplace" in out
