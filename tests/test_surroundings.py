"""What people have around ganbench: what Python prints when it starts, folders, homes, links, names, other runs."""

import copy
import json
import os
import pty
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from commands import GANBENCH, cli
from patience import LIMIT_S

import ganbench
from ganbench.data import unread
from ganbench.errors import as_utf8
from ganbench.machine.lock import NAME, run_lock
from ganbench.measure.child import decoded, encoded
from ganbench.measure.plan import asked_again, make_plan, record
from ganbench.model_file import as_toml, read_spec, read_toml
from ganbench.results.run import find_run
from ganbench.training.curves import undrawn

NOISE = """
import os, subprocess, sys
print("from a print")
os.write(1, b'{"type": "a line that looks like a message"}\\nno end of line')
print("to stderr", file=sys.stderr)
if "GANBENCH_OWNER" in os.environ:  # something of the system that goes on, and speaks later
    subprocess.Popen(["sh", "-c", "for _ in 1 2 3 4 5 6 7 8 9; do sleep 0.1; echo later; done"])
raise RuntimeError("it fails, too")
"""
QUICK = ("--preset", "tiny", "--backends", "numpy", "--ops", "matmul", "--rounds", "1")
LATIN = os.fsdecode(b"caf\xe9")  # no UTF-8


@pytest.fixture
def latin(tmp_path):
    """A folder whose name is no UTF-8."""
    try:
        (tmp_path / LATIN).mkdir()
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    return tmp_path / LATIN


@pytest.mark.workers
def test_what_python_prints_when_it_starts_is_no_message(tmp_path, outside):
    """In the oracle, in workers and forked ones, and in the process that asks a plug-in."""
    (tmp_path / "sitecustomize.py").write_text(NOISE)
    path = os.pathsep.join([str(tmp_path), outside["PYTHONPATH"]])
    backends = ("--backends", "numpy,outside", "--rounds", "2", "--format", "json", "--results", str(tmp_path))
    done = cli("compare", *QUICK, *backends, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout[done.stdout.index("[\n") :])  # our own Python prints, too
    assert [row["status"] for row in rows] == ["ok", "ok"]


@pytest.mark.workers
def test_folders_whose_names_are_no_utf8(latin):
    """One folder for everything: of temporary files, of results, of data, of a training; and the model's file."""
    temporary, rows = latin / "temporary", latin / f"{LATIN}.npy"
    temporary.mkdir()
    np.save(rows, np.full((32, 36), 0.5))
    (latin / f"{LATIN}.toml").write_text("generator = [8, 36]\ndiscriminator = [36, 1]\nbatch = 4\n")
    environment = {**os.environ, "TMPDIR": str(temporary), "GANBENCH_LOCK": str(temporary)}
    asked = ("--backends", "numpy,numpy.inplace", "--model", f"{LATIN}.toml", "--data", rows.name)
    commands = (
        ("compare", *asked, "--ops", "matmul", "--rounds", "1", "--results", LATIN, "--export", f"{LATIN}.txt"),
        ("report", LATIN, "--html", f"{LATIN}.html", "--picture", f"{LATIN}.svg"),
        ("train", *asked, "--iterations", "3", "--output", f"trained {LATIN}"),
        ("results", "list", LATIN),
    )
    for command in commands:
        done = subprocess.run([*GANBENCH, *command], cwd=latin, env=environment, capture_output=True, timeout=LIMIT_S)
        assert done.returncode == 0, done.stderr
    for name in (f"{LATIN}.txt", f"{LATIN}.html", f"{LATIN}.svg", f"trained {LATIN}/numpy/state.npz"):
        assert (latin / name).stat().st_size
    run = ganbench.load_results(latin / LATIN)
    assert set(run["data"]) == {as_utf8(rows.name)}


def test_a_run_on_data_whose_name_is_no_utf8_can_be_resumed(latin):
    plan = make_plan(backends="numpy", data=latin / "rows.npy")
    said = json.loads(msgspec.json.encode(record(plan)))
    assert asked_again({**record(plan), "data": said["data"]})["data"] == str(latin / "rows.npy")
    assert decoded(encoded({"file": LATIN}), dict) == {"file": LATIN}


def test_pack_takes_any_name_of_a_folder(latin, craft, ganbench_cli):
    craft(latin / "r")
    code, out, err = ganbench_cli("results", "pack", latin / "r", "--output", latin / "packed")
    assert (code, out) == (0, as_utf8(f"8 rows in 1 file below {latin / 'packed'}\n")), err
    (file,) = (latin / "packed").rglob("*.parquet")
    with file.open("rb") as packed:
        assert len(pd.read_parquet(packed)) == 8


def test_pictures_are_drawn_for_whom_has_no_home(tmp_path, craft):
    """As in a container that runs under a number: Altair asks for the home when it is imported."""
    craft(tmp_path)
    nobody = "import os, pwd\nif hasattr(os, 'getuid'):\n    os.getuid = lambda: 2**31 - 7\n"
    code = f"{nobody}from ganbench.cli import main; main()"
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "GANBENCH_CACHE")}
    done = subprocess.run(
        [sys.executable, "-c", code, "report", ".", "--picture", "speeds.svg"], cwd=tmp_path,
        env={**environment, "XDG_CACHE_HOME": "/dev/null/nowhere"}, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "speeds.svg").read_text().startswith("<svg")
    drawn = "import numpy; from ganbench.gan import PRESETS; from ganbench.training.curves import draw; import sys; "
    drawn += "spec = PRESETS['tiny']; print(len(draw({'numpy': numpy.ones((3, 1 + len(spec.reported)))}, spec, 't')))"
    done = subprocess.run([sys.executable, "-c", nobody + drawn], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.workers
def test_the_lock_is_the_same_whatever_tmpdir_says(tmp_path, monkeypatch):
    monkeypatch.setenv("GANBENCH_LOCK", str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with run_lock(print):
        second = subprocess.Popen(
            [*GANBENCH, "compare", *QUICK, "--results", str(tmp_path / "r")], env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while "waiting until process" not in (line := second.stderr.readline()):
            assert line, "it did not wait"
        assert f"process {os.getpid()} " in line
    _, err = second.communicate(timeout=LIMIT_S)
    assert second.returncode == 0, err
    assert (tmp_path / "shared" / NAME).exists()


@pytest.mark.parametrize("form", [("-m", "ganbench"), ("-m", "ganbench.cli")])
def test_the_command_line_is_a_module_too(tmp_path, form):
    (tmp_path / "msgspec.py").write_text("raise ImportError('the wrong msgspec')\n")
    done = subprocess.run([sys.executable, *form, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("python -m ganbench")


def test_the_backends_of_a_clone_are_found_where_it_is_not_installed():
    code = (
        "import sys; sys.meta_path = [one for one in sys.meta_path if 'editable' not in repr(one).lower()]; "
        "import ganbench.backends.numpy_backend as found; print(found.__file__)"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == str(root / "backends" / "numpy_backend.py"), done.stderr


@pytest.mark.parametrize(("term", "coloured"), [("dumb", False), ("unknown", False), ("xterm", True)])
def test_a_terminal_that_is_dumb_gets_plain_lines(tmp_path, craft, term, coloured):
    run = craft(tmp_path)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": term}
    environment.pop("NO_COLOR", None)
    with os.fdopen(ours, "rb", buffering=0) as screen:
        command = [sys.executable, "-m", "ganbench", "results", "show", str(run)]
        done = subprocess.Popen(command, env=environment, stdout=theirs, stderr=theirs, stdin=theirs)
        os.close(theirs)
        said = b""
        try:
            while part := screen.read(4096):
                said += part
        except OSError:  # Linux says so that the other end is closed
            pass
        assert done.wait(LIMIT_S) == 0, said
    assert (b"\x1b[" in said) == coloured


def test_output_to_a_link_goes_to_what_it_points_to(tmp_path, craft, ganbench_cli):
    craft(tmp_path / "r")
    for option, name, there in (("--export", "a.txt", 1), ("--export", "b.txt", 0), ("--picture", "c.svg", 1)):
        target, link = tmp_path / f"target-{name}", tmp_path / name
        link.symlink_to(target)
        if there:
            target.write_text("old")
        code, _, err = ganbench_cli("report", tmp_path / "r", option, link)
        assert code == 0, err
        assert link.is_symlink()
        assert target.read_text() != "old"
    (tmp_path / "round.txt").symlink_to(tmp_path / "round.txt")
    code, _, err = ganbench_cli("report", tmp_path / "r", "--export", tmp_path / "round.txt")
    assert code == 2, err
    link = tmp_path / "state.json"
    (tmp_path / "kept").write_text("old")
    link.symlink_to(tmp_path / "kept")
    ganbench.results.store.replace_file(link, lambda file: file.write(b"new"))
    assert (link.is_symlink(), (tmp_path / "kept").read_text()) == (True, "new")


def test_what_else_is_in_a_folder_of_data_is_told(tmp_path, ganbench_cli):
    pytest.importorskip("PIL")
    from PIL import Image

    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    for number in range(16):
        Image.fromarray(np.full((6, 6), 16 * number, np.uint8)).save(folder / "deeper" / f"{number}.png")
    assert unread(folder) == ""
    for name in ("a.gif", "b.GIF", "notes", ".hidden.png"):
        (folder / name).write_bytes(b"")
    (folder / "lost.png").symlink_to(folder / "nowhere")
    (folder / "more").symlink_to(folder / "deeper")
    told = unread(folder)
    assert told.startswith("not read: 2 .gif")
    for kind in ("1 hidden files", "1 without a suffix", "1 links that lead nowhere", "1 links to folders"):
        assert kind in told
    code, _, err = ganbench_cli("compare", *QUICK, "--results", tmp_path / "r", "--data", folder)
    assert code == 0, err
    assert told in err
    shutil.rmtree(folder / "deeper")
    code, _, err = ganbench_cli("compare", *QUICK, "--results", tmp_path / "r", "--data", folder)
    assert code == 2
    assert "2 .gif" in err


@pytest.mark.parametrize(
    "name", ["panda-🐼", "\u202eright to left", 'a "quoted"\n\ttext\\', "\x7f\x1b", "x" * 300, "END"]
)
def test_a_model_of_any_name_is_written_as_toml(tmp_path, name):
    spec = msgspec.structs.replace(ganbench.PRESETS["tiny"], name=name)
    path = tmp_path / "model.toml"
    path.write_text(as_toml(spec), "utf-8")
    assert tomllib.loads(path.read_text("utf-8"))["name"] == name
    assert read_spec(path) == spec


def test_a_byte_order_mark_is_passed_over_and_utf16_is_named(tmp_path, ganbench_cli):
    plan, model = tmp_path / "plan.toml", tmp_path / "model.toml"
    texts = {plan: '[[matrix]]\nbackends = ["numpy"]\n', model: as_toml(ganbench.PRESETS["tiny"])}
    for path, text in texts.items():
        path.write_text(text, "utf-8-sig")
        assert read_toml(path)
    assert read_spec(model) == ganbench.PRESETS["tiny"]
    assert ganbench_cli("fleet", "status", plan, "--results", tmp_path / "r")[0] == 0
    for path, text in texts.items():
        path.write_text(text, "utf-16")
    for command in (("fleet", "status", plan), ("compare", "--model", model)):
        code, _, err = ganbench_cli(*command)
        assert code == 2
        assert "it is not UTF-8 (byte 1): save it as UTF-8" in err


def test_a_picture_says_which_letters_it_lacks(tmp_path, craft, ganbench_cli):
    assert undrawn("tiny, ±2 % · µs") == ""
    assert undrawn("\ue0f2") == ""  # it is not printable, so it is not drawn as itself
    hieroglyph = chr(0x13000)
    told = undrawn(hieroglyph)
    if not told:
        pytest.skip("this machine has a font of hieroglyphs")
    assert f"no font here has {hieroglyph}, so boxes are drawn instead: install Noto Sans Egyptian" in told
    craft(tmp_path / "r", machine=hieroglyph)
    for name, missing in (("a.png", True), ("a.pdf", True), ("a.svg", False)):
        code, _, err = ganbench_cli("report", tmp_path / "r", "--picture", tmp_path / name)
        assert code == 0, err
        assert ("an .svg keeps them" in err) == missing


def test_a_run_without_samples_shows(tmp_path, real_run, ganbench_cli):
    for number, left in enumerate((set(), {"numpy"})):
        lines = copy.deepcopy(real_run)
        lines[0]["run_id"] = f"20260101T00000{number}Z-0000"
        for line in lines:
            if line["type"] == "measurement" and line["target"] not in left:
                line |= {"samples": [], "passes": []}
        path = tmp_path / "theirs" / "there" / "compare" / f"{lines[0]['run_id']}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ganbench_cli("results", "import", tmp_path / "theirs", "--results", tmp_path / "r")[0] == 0
    for path in sorted((tmp_path / "r").rglob("*.jsonl")):
        for more in ((), ("--details",), ("--format", "csv"), ("--format", "bmf")):
            code, out, err = ganbench_cli("results", "show", find_run(path.stem, tmp_path / "r"), *more)
            assert code == 0, err
            assert out


def test_an_odd_name_of_a_machine_refuses_no_other_file(tmp_path, craft, ganbench_cli):
    craft(tmp_path / "theirs" / "a", machine="here")
    odd = ["new\nline", "sl/ash", 'a "quote"', "🐼", "\u202eevil", "", "..", "[bold]", "x" * 400, "|", "\x00"]
    for number, name in enumerate(odd):
        run = craft(tmp_path / "theirs" / "b", machine=f"m{number}")
        run.write_text(run.read_text().replace(f'"machine": "m{number}"', f'"machine": {json.dumps(name)}'))
    code, out, _ = ganbench_cli("results", "import", tmp_path / "theirs", "--results", tmp_path / "r")
    assert code == 0
    assert out.count("taken") == 1
    assert out.count("which is not a valid name of a file") == len(odd)
    pages = (("--html", "page.html"), ("--picture", "a.svg"))
    for more in (
        (),
        ("--format", "json"),
        ("--format", "markdown"),
        *((option, tmp_path / one) for option, one in pages),
    ):
        code, out, err = ganbench_cli("report", tmp_path / "theirs", *more)
        assert code == 0, err
    code, _, err = ganbench_cli("compare", *QUICK, "--results", tmp_path / "r", "--machine", "x" * 101)
    assert code == 2
    assert "up to 100 letters" in err
