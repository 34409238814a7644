"""The oracle's answers on disk: computed once for all test processes, and again for other code or a damaged file."""

import subprocess
import sys

import numpy as np
import pytest

from ganbench.errors import GanbenchError
from ganbench.gan import preset
from ganbench.operations import operation
from ganbench.operations.layers import Matmul
from ganbench.testing import KEPT, kept
from ganbench.verification.answers import Answers

CASE = operation("matmul", preset("tiny"))
GOOD = Answers(3, "abc", 8, {1: [np.ones((2, 3)), np.zeros(1)], 8: [np.full((2, 3), 7.0), np.ones(1)]},
               {("params", 8): 0.5}, {("params", 1): 0.25}, {1: {0: np.full((2, 3), 1e-9)}, 8: {}})  # fmt: skip


@pytest.fixture
def store(tmp_path):
    made = kept.KeptAnswers()
    made.folder = tmp_path
    return made


def refuse():
    raise GanbenchError("it was to be read")


def same(one, other):
    assert one[:3] == other[:3]
    assert one.deviations == other.deviations
    assert one.changes == other.changes
    for count, outputs in one.after.items():
        assert all(map(np.array_equal, outputs, other.after[count]))
        for place, array in one.allowed[count].items():
            assert np.array_equal(array, other.allowed[count][place])


def test_an_answer_is_computed_once(store):
    same(store.get(CASE, "a", lambda: GOOD), GOOD)
    read = store.get(CASE, "a", refuse)
    assert read.allowed.get(8, {}) == {}
    same(read._replace(allowed=read.allowed | {8: {}}), GOOD)
    with pytest.raises(GanbenchError):
        store.get(CASE, "b", refuse)


@pytest.mark.parametrize("damage", [b"", b"PK rubbish", "torn", "turned"])
def test_a_damaged_file_is_computed_anew(store, tmp_path, damage):
    store.get(CASE, "a", lambda: GOOD)
    (file,) = tmp_path.rglob("answers.npz")
    whole = file.read_bytes()
    middle = whole.index(np.full((2, 3), 7.0).tobytes())  # a bit of one number
    turned = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    file.write_bytes({"torn": whole[: len(whole) // 2], "turned": turned}.get(damage, damage))
    same(store.get(CASE, "a", lambda: GOOD), GOOD)
    assert np.load(file)["after/8/0"][0, 0] == 7
    store.get(CASE, "a", refuse)


def test_other_code_and_other_kernels_have_answers_of_their_own(store, tmp_path, monkeypatch):
    store.get(CASE, "a", lambda: GOOD)
    monkeypatch.setattr(kept, "_kernels", lambda: "those of another processor")
    store.get(CASE, "a", lambda: GOOD)
    assert len([*tmp_path.rglob("answers.npz")]) == 2
    monkeypatch.setattr(kept, "_code", lambda: "changed")
    store.get(CASE, "a", lambda: GOOD)
    assert [path.name for path in tmp_path.iterdir()] == ["changed"], "what belongs to other code is of no use"


def test_a_second_process_waits_for_the_first(tmp_path):
    code = (
        "import pathlib, sys, time\nimport numpy as np\n"
        "from ganbench.gan import preset\nfrom ganbench.operations import operation\n"
        "from ganbench.testing import kept\nfrom ganbench.verification.answers import Answers\n"
        "store = kept.KeptAnswers(); store.folder = pathlib.Path(sys.argv[1])\n"
        "def compute():\n"
        "    print('computes', flush=True); input()\n"
        "    return Answers(int(sys.argv[2]), '', 1, {1: [np.ones(3)]}, {}, {})\n"
        "print('asks', flush=True)\n"
        "print(store.get(operation('matmul', preset('tiny')), 'a', compute).seed)\n"
    )
    start = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*start, "1"], **pipes) as first:
        assert [first.stdout.readline(), first.stdout.readline()] == ["asks\n", "computes\n"]
        with subprocess.Popen([*start, "2"], **pipes) as second:
            assert second.stdout.readline() == "asks\n"
            assert first.communicate("\n")[0] == "1\n"
            assert second.communicate()[0] == "1\n"


def test_without_a_place_every_process_computes_its_own(store, tmp_path):
    store.folder = tmp_path / "file"
    store.folder.touch()
    same(store.get(CASE, "a", lambda: GOOD), GOOD)
    store.folder = None
    same(store.get(CASE, "a", lambda: GOOD), GOOD)


def test_every_file_that_an_answer_comes_from_is_in_its_key():
    """What ``emulation`` imports of ganbench lies in the folders that are hashed, or is no mathematics."""
    code = (
        "import sys, ganbench\nbefore = {*sys.modules}\nimport ganbench.verification.emulation\n"
        "print(*[name for name in {*sys.modules} - before if name.startswith('ganbench.')])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    folders = {name.split(".")[1] for name in loaded if name.count(".") > 1}
    assert folders - {"results", "registry"} <= set(kept.MAKERS), "records and targets alone come from elsewhere"


def test_an_operation_of_a_test_is_not_kept(store, tmp_path):
    """Its code is in no hash."""

    class Own(Matmul):
        pass

    same(store.get(Own(2, 3, 4), "a", lambda: GOOD), GOOD)
    assert not [*tmp_path.iterdir()]


def test_the_suite_keeps_what_it_asks():
    assert KEPT.folder is None or KEPT.folder.parent.name == "d", "in pytest's cache"
