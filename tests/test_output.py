"""Where a report goes is tried before anything is measured; where it cannot be printed after all, the run is kept."""

import json
import os
import subprocess

import pytest
from commands import GANBENCH, QUICK, cli
from patience import LIMIT_S

from ganbench.report.escape import visible_lines

pytestmark = pytest.mark.workers
COMPARE = ("compare", *QUICK, "--backends", "numpy", "--ops", "matmul")


def kept(folder):
    return list(folder.glob("*/compare/*.jsonl"))


@pytest.mark.parametrize("target", [".", "nowhere/table.txt", "/dev/null/table.txt"])
def test_an_output_that_cannot_be_is_refused_before_anything_is_measured(tmp_path, target):
    done = cli(*COMPARE, "--results", "r", "--export", target, cwd=tmp_path)
    assert done.returncode == 2
    assert f"cannot write {target}" in done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full disk to try")  # noqa: PTH110
@pytest.mark.parametrize(
    ("condition", "code"),
    [((), 1), (("--fail-if", "numpy.inplace/matmul slower than 1000x"), 0)],
    ids=["plain", "condition"],
)
def test_a_full_disk_behind_stdout_loses_no_run(tmp_path, condition, code):
    rounds = ("--backends", "numpy,numpy.inplace", "--rounds", "6") if condition else ()
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [*GANBENCH, *COMPARE, *rounds, *condition, "--results", tmp_path],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=LIMIT_S,
        )  # fmt: skip
    assert done.returncode == code, done.stderr
    (path,) = kept(tmp_path)
    assert f"saved in {path}" in done.stderr
    assert f"'ganbench results show {path}'" in done.stderr
    assert "Traceback" not in done.stderr
    assert cli("results", "show", path).returncode == 0


@pytest.mark.parametrize("encoding", ["cp1251", "gbk", "cp932", "ascii"])
def test_letters_that_a_terminal_does_not_have_are_written_out(tmp_path, encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for arguments in ((*COMPARE, "--details", "--results", tmp_path), ("list",)):
        done = subprocess.run([*GANBENCH, *arguments], env=environment, capture_output=True, timeout=LIMIT_S)
        assert done.returncode == 0, done.stderr
        assert b"numpy" in done.stdout


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_a_closed_stream_does_not_end_a_run(tmp_path, closed):
    command = [*GANBENCH, *COMPARE, "--results", tmp_path]
    script = f'exec "$@" {closed}>&-'
    done = subprocess.run(["sh", "-c", script, "sh", *command], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    (path,) = kept(tmp_path)
    assert json.loads(path.read_text().splitlines()[-1])["type"] == "end"


def test_zero_is_not_a_number_of_rounds_and_no_operation_is_not_all(tmp_path):
    for arguments, message in (
        (("--rounds", "0"), "rounds 0 is not valid: at least 1"),
        (("--ops", ""), "no operations named"),
    ):
        done = cli("compare", *arguments, "--results", tmp_path / "r")
        assert done.returncode == 2
        assert message in done.stderr


def test_control_characters_are_written_out():
    assert visible_lines("\x1b[2Jred\x07\tand\n\x9b1m\x7f") == "\\x1b[2Jred\\x07\tand\n\\x9b1m\\x7f"


def test_other_peoples_escape_sequences_do_not_reach_the_terminal(craft, tmp_path):
    path = craft(tmp_path, statuses={("matmul", "torch"): "failed"})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line.get("status") == "failed":
            line["reason"] = "\x1b[2J\x1b]0;owned\x07gone"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for arguments in (("results", "show", path), ("results", "list", tmp_path), ("report", tmp_path)):
        done = cli(*arguments)
        assert done.returncode == 0, done.stderr
        assert not {"\x1b", "\x07"} & {*done.stdout, *done.stderr}
    assert "\\x1b[2J" in cli("results", "show", path).stdout


def test_a_results_folder_that_vanishes_is_noticed(tmp_path):
    program = (
        "import shutil, ganbench\n"
        "def gone(share, text):\n"
        "    if 'timing' in text:\n"
        "        shutil.rmtree('r', ignore_errors=True)\n"
        "run = ganbench.compare('numpy', preset='tiny', ops='matmul', rounds=1, results='r', progress=gone)\n"
        "print(run.ended)\n"
    )
    done = subprocess.run([GANBENCH[0], "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S)
    assert "cannot write results to" in done.stdout


def test_a_report_may_go_to_a_pipe(craft, tmp_path):
    craft(tmp_path / "r")
    script = 'mkfifo "$0"; "$@" --export "$0" >&2 & exec cat "$0"'
    done = subprocess.run(
        ["sh", "-c", script, tmp_path / "pipe.md", *GANBENCH, "report", tmp_path / "r"],
        capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert "speed relative to numpy" in done.stdout, done.stderr


def test_without_docstrings_nothing_is_drawn_and_it_is_said(craft, tmp_path):
    run = craft(tmp_path / "r")
    environment = {**os.environ, "PYTHONOPTIMIZE": "2", "GANBENCH_CACHE": str(tmp_path / "cache")}  # no kept charts
    for command, code in (
        (("results", "show", run), 0),
        (("report", tmp_path / "r", "--picture", tmp_path / "a.svg"), 1),
        (("report", tmp_path / "r", "--html", tmp_path / "a.html"), 1),
        (("train", *QUICK[:2], "--backend", "numpy", "--iterations", "1", "--output", tmp_path / "t"), 1),
    ):
        done = cli(*command, env=environment)
        assert (done.returncode, "unset PYTHONOPTIMIZE" in done.stderr) == (code, code == 1), done.stderr
