"""Many run files: what was worked out once is kept, and never out of date."""

import os
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
from patience import LIMIT_S

import ganbench
from ganbench.report.recommendation import Candidate, outlook
from ganbench.report.web import kept as kept_module
from ganbench.report.web.kept import kept_outlook
from ganbench.results import loading, row_cache
from ganbench.results.statistics import Estimate
from ganbench.results.store import DamagedResultsWarning
from ganbench.results.table import OUTLINE


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """Keep the rows of every folder, also of a small one; return where."""
    monkeypatch.setattr(loading, "MANY", 1)
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rows"


def kept_files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_kept_rows_are_those_that_were_derived(craft, tmp_path, kept, monkeypatch):
    craft(tmp_path / "r", {"torch": 2.0}, statuses={("matmul", "torch"): "failed"})
    craft(tmp_path / "r", {"jax": 2.0}, rounds=3, end=False)
    monkeypatch.setattr(loading, "MANY", 100)
    plain = ganbench.load_results(tmp_path / "r")
    assert not kept.exists()
    monkeypatch.setattr(loading, "MANY", 1)
    first, count = ganbench.load_results(tmp_path / "r"), len(kept_files(kept))
    monkeypatch.setattr(row_cache, "rows_of", lambda *_: pytest.fail("derived again"))
    later = ganbench.load_results(tmp_path / "r")
    assert count == 2
    for found in (first, later):
        pd.testing.assert_frame_equal(found, plain)


@pytest.mark.parametrize("many", [1, 1000])
def test_outlines_are_worked_out_to_the_rows_of_all(committed, kept, monkeypatch, many):
    """Those of asv too; nothing but what an outline says is worked out before."""
    monkeypatch.setattr(loading, "MANY", many)
    full, rows = ganbench.load_results(committed), loading.load_outlines(committed)
    assert set(rows) == {*OUTLINE, loading.ORIGIN}
    pd.testing.assert_frame_equal(rows[OUTLINE], full[OUTLINE], check_exact=True)
    shown = rows.sample(frac=0.5, random_state=1)
    pd.testing.assert_frame_equal(loading.whole(shown)[list(full)], full.loc[shown.index], check_exact=True)
    assert loading.whole(full) is full


def test_rows_that_are_shown_are_kept_too(craft, tmp_path, kept, monkeypatch):
    craft(tmp_path / "r", {"torch": 2.0})
    first = loading.whole(loading.load_outlines(tmp_path / "r"))
    monkeypatch.setattr(row_cache, "rows_of", lambda *_: pytest.fail("derived again"))
    later = loading.load_outlines(tmp_path / "r")
    pd.testing.assert_frame_equal(loading.whole(later), first, check_exact=True)
    pd.testing.assert_frame_equal(loading.whole(later[:0])[list(first)], first[:0])


def test_an_outlook_is_worked_out_anew_only_for_other_times(tmp_path, monkeypatch):
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path))
    fast, slow = ({number: {0: seconds} for number in range(6)} for seconds in (1e-3, 2e-3))
    some = [Candidate("torch", 2.0, 1.0, [fast]), Candidate("numpy", 1.0, 1.0, [slow, slow])]
    found = [kept_outlook(some[:count], None, row_cache.code_hash()) for count in (1, 2)]
    assert found == [[[at, first, rivals] for at, first, rivals in outlook(some[:n], None)] for n in (1, 2)]
    monkeypatch.setattr(kept_module, "outlook", lambda *_: pytest.fail("derived again"))
    assert kept_outlook(some, None, row_cache.code_hash()) == found[1]
    other = row_cache.code_hash()
    other.update(b"code = 2")
    for changed in ((some[:1], Estimate(1.0, 0.9, 1.1), row_cache.code_hash()), (some, None, other)):
        with pytest.raises(pytest.fail.Exception):
            kept_outlook(*changed)


def test_of_a_file_that_has_changed_meanwhile_no_more_is_known(craft, tmp_path):
    runs = [craft(tmp_path / "r", {"torch": 2.0}) for _ in range(3)]
    rows = loading.load_outlines(tmp_path / "r")
    runs[0].unlink()
    lines = runs[1].read_text().splitlines(keepends=True)
    runs[1].write_text("".join(line for line in lines if '"adam_step"' not in line or '"type":"run"' in line))
    known = loading.whole(rows)
    pd.testing.assert_frame_equal(known[OUTLINE], rows[OUTLINE])
    said = known["verdict"].notna().groupby(known["run_id"]).any()
    assert said.to_dict() == {run.stem: run is runs[2] for run in runs}


def test_a_file_or_code_that_changed_is_derived_anew(craft, tmp_path, kept, monkeypatch):
    path = craft(tmp_path / "r", {"torch": 2.0})
    before = ganbench.load_results(path)
    state = path.stat()
    path.write_text(path.read_text().replace('"here"', '"hers"'))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # same length, same time
    assert set(ganbench.load_results(path)["machine"]) == {"hers"} != set(before["machine"])
    count = len(kept_files(kept))
    (tmp_path / "other.py").write_text("code = 2")
    monkeypatch.setattr(row_cache, "__file__", str(tmp_path / "results" / "row_cache.py"))
    ganbench.load_results(path)
    assert len(kept_files(kept)) == count + 1


@pytest.mark.parametrize("content", [b"", b"\x93", b"\xc1", b"\x01", b"[]"])
def test_a_damaged_kept_file_is_made_again(craft, tmp_path, kept, content):
    path = craft(tmp_path / "r", {"torch": 2.0})
    whole = ganbench.load_results(path)
    (file,) = kept_files(kept)
    file.write_bytes(content)
    pd.testing.assert_frame_equal(ganbench.load_results(path), whole)
    assert file.read_bytes() != content


def test_a_torn_run_is_said_each_time(craft, tmp_path, kept):
    path = craft(tmp_path / "r", {"torch": 2.0})
    path.write_text(path.read_text() + '{"type":')
    for _ in range(2):
        with pytest.warns(DamagedResultsWarning, match="the last line is incomplete"):
            ganbench.load_results(path)
    assert not kept.exists()


def test_without_a_place_to_keep_anything_all_is_read(craft, tmp_path, kept, monkeypatch):
    path = craft(tmp_path / "r", {"torch": 2.0})
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "file"))
    assert len(ganbench.load_results(path)) == 8
    monkeypatch.delenv("GANBENCH_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("nobody's home")))
    assert len(ganbench.load_results(path)) == 8


def test_progress_says_how_much_is_read(craft, tmp_path):
    for _ in range(3):
        craft(tmp_path / "r", {"torch": 2.0})
    told = []
    ganbench.load_results(tmp_path / "r", progress=lambda share, text: told.append((share, text)))
    assert told == [(number / 3, f"reading {number} of 3 files") for number in range(3)]


def test_a_copy_of_a_run_is_no_further_run(craft, tmp_path):
    """Such as a backup; one that was made while the run went on holds less, and gives way."""
    run = craft(tmp_path / "r")
    copies = [tmp_path / "r" / name / "compare" / run.name for name in ("a backup", "z backup")]
    for number, copy in enumerate(copies):
        copy.parent.mkdir(parents=True)
        copy.write_text("".join(run.read_text().splitlines(keepends=True)[: -1 - number]))
    with pytest.warns(DamagedResultsWarning) as told:
        table = ganbench.load_results(tmp_path / "r", run)
    pd.testing.assert_frame_equal(table, ganbench.load_results(run))
    assert [str(one.message) for one in told] == [f"left out: {copy}: it is a copy of {run}" for copy in copies]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_a_pipe_among_results_is_not_waited_for(craft, tmp_path):
    run = craft(tmp_path)
    for name in ("2026.jsonl", "other.json"):
        os.mkfifo(run.with_name(name))
    with pytest.warns(DamagedResultsWarning, match="it is a pipe or a device") as told:
        assert len(ganbench.load_results(tmp_path)) == len(ganbench.load_results(run))
    assert len(told) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything: needs a user")
def test_a_folder_that_may_not_be_opened_is_told(craft, tmp_path):
    run = craft(tmp_path)
    run.parent.chmod(0)
    try:
        with pytest.warns(DamagedResultsWarning, match=f"{run.parent}: the folder may not be opened"):
            assert ganbench.load_results(tmp_path).empty
    finally:
        run.parent.chmod(0o755)


def test_a_further_process_keeps_the_same_rows(craft, tmp_path, kept, monkeypatch):
    """It begins at the other end, once many files were new."""
    for number in range(4):
        craft(tmp_path / "r", {"torch": 2.0 + number})
    plain = ganbench.load_results(tmp_path / "r")
    shutil.rmtree(kept)
    monkeypatch.setattr(row_cache, "MANY", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    derive, own = row_cache.rows_of, []

    def derived(file, *more):
        own.append(file)
        late = time.monotonic() + LIMIT_S
        while len(own) == 2 and len([path for path in kept_files(kept) if not path.suffix]) < 3:
            assert time.monotonic() < late
            time.sleep(0.01)
        return derive(file, *more)

    monkeypatch.setattr(row_cache, "rows_of", derived)
    pd.testing.assert_frame_equal(ganbench.load_results(tmp_path / "r"), plain)
    assert len(own) == 2
