"""Other people's results: what is good is taken, what is hostile is refused, and nothing is ever overwritten."""

import io
import json
import math
import os
import pickle
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ganbench
from ganbench.errors import UsageError
from ganbench.results import archive
from ganbench.results.importing import import_results
from ganbench.results.table import COLUMNS


@pytest.fixture
def theirs(craft, tmp_path):
    """Two good runs of someone else."""
    craft(tmp_path / "theirs", machine="there")
    craft(tmp_path / "theirs", machine="elsewhere", statuses={("matmul", "torch"): "failed"})
    return tmp_path / "theirs"


def zipped(path, files):
    """Write a .zip of ``files``: names, or ready ZipInfo, to contents."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def tarred(path, files):
    """Write a .tar.gz of ``files``: names, or ready TarInfo, to contents."""
    with tarfile.open(path, "w:gz") as file:
        for name, content in files.items():
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return path


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def everything(folder):
    """Return all that lies below a folder, to see what an import changed."""
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if "results" not in path.parts}


# What is good


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz", "deep"])
def test_results_come_in_whole(theirs, tmp_path, ganbench_cli, kind):
    files, path = contents(theirs), theirs
    if kind == "zip":
        path = zipped(tmp_path / "a.zip", files)
    elif kind == "tar.gz":
        path = tarred(tmp_path / "a.tar.gz", files)
    elif kind == "deep":  # where it lay does not matter
        path = zipped(tmp_path / "a.ZIP", {f"x/y/{name.replace('there', 'z')}": text for name, text in files.items()})
    code, out, err = ganbench_cli("results", "import", path, "--results", tmp_path / "results")
    assert (code, err) == (0, "")
    assert contents(tmp_path / "results") == files
    assert [line.split()[0] for line in out.splitlines()] == ["taken", "taken"]
    mine, original = ganbench.load_results(tmp_path / "results"), ganbench.load_results(theirs)
    assert mine.drop(columns="samples").equals(original.drop(columns="samples"))
    code, out, _ = ganbench_cli("results", "import", path, "--results", tmp_path / "results")
    assert code == 0
    assert out.count("here already") == 2


def test_one_file_is_enough(theirs, tmp_path):
    file = next(theirs.rglob("*.jsonl"))
    assert len(import_results(file, tmp_path / "results").taken) == 1


def test_what_is_not_ours_is_left_out_with_its_reason(theirs, tmp_path, ganbench_cli):
    files = contents(theirs)
    good = next(iter(files.values()))
    lines = good.splitlines(keepends=True)
    files |= {
        "notes.txt": b"hello",
        "state.npz": b"PK\x03\x04",
        "m/compare/foreign.jsonl": b'{"type": "else"}\n',
        "m/compare/newer.jsonl": b'{"type": "run", "format": 99}\n',
        "m/compare/damaged.jsonl": b"".join([lines[0], b"{\n", *lines[1:]]),
        "m/compare/empty.jsonl": lines[0].replace(b"-0001", b"-0099"),
        "m/compare/deep.jsonl": b"[" * 100_000,
        "m/deep.json": b"[" * 100_000,
        "m/x.json": b'{"some": "thing"}',
        "benchmarks.json": b"{}",
    }
    path = zipped(tmp_path / "a.zip", files)
    code, out, _ = ganbench_cli("results", "import", path, "--results", tmp_path / "results")
    assert code == 0
    assert out.count("taken") == 2
    assert len(contents(tmp_path / "results")) == 2
    for named in (
        "notes.txt: not a results file",
        "foreign.jsonl: it is not a ganbench run",
        "newer.jsonl: it has format 99",
        "damaged.jsonl: it, line 2",
        "empty.jsonl: nothing was measured in it",
        "deep.jsonl: it is not a ganbench run",
        "deep.json: not JSON, or torn off",
        "x.json: not a file of asv's",
        "benchmarks.json: asv writes it anew",
    ):
        assert named in out


def test_a_torn_run_is_taken_as_it_is(theirs, tmp_path):
    file = next(theirs.rglob("*.jsonl"))
    file.write_bytes(file.read_bytes()[:-40])
    assert len(import_results(file, tmp_path / "results").taken) == 1
    assert next((tmp_path / "results").rglob("*.jsonl")).read_bytes() == file.read_bytes()


def asv_file(machine="there", targets=("numpy", "torch"), **changes):
    """Return a result file as asv writes it, of one benchmark."""
    content = {
        "commit_hash": "a" * 40,
        "env_name": "current-py3.11",
        "date": 1795420937000,
        "params": {"machine": machine, "num_cpu": "2"},
        "requirements": {"numpy": "2.4.6"},
        "result_columns": ["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b"],
        "results": {
            "matmul.Matmul.track_call": [
                [1e-3, math.nan],
                [["'128x256x784'"], [repr(target) for target in targets], ["'float32'"]],
                "engine 1",
                1795420941251,
                3.0,
                [9e-4, None],
                [2e-3, None],
            ]
        },
        "version": 2,
    }
    return json.dumps(content | changes).encode()


def test_files_of_asv_come_in_beside_runs(theirs, tmp_path, ganbench_cli):
    about = json.dumps({"machine": "there", "version": 1}).encode()
    files = contents(theirs) | {"x/there/aaaaaaaa-current-py3.11.json": asv_file(), "x/there/machine.json": about}
    path = tarred(tmp_path / "a.tar.gz", files | {"x/benchmarks.json": b"{}", "x/there/torn.json": asv_file()[:-9]})
    results = tmp_path / "results"
    code, out, _ = ganbench_cli("results", "import", path, "--results", results)
    assert code == 0
    assert out.count("taken") == 4
    assert "torn.json: not JSON, or torn off" in out
    assert (results / "there" / "aaaaaaaa-current-py3.11.json").read_bytes() == asv_file()
    assert (results / "there" / "machine.json").read_bytes() == about
    table = ganbench.load_results(results)
    assert table["source"].value_counts().to_dict() == {"compare": 16, "asv": 2}
    code, out, _ = ganbench_cli("report", results, "--source", "asv")
    assert code == 0
    assert "there, asv, any preset, float32, ieee, 2 threads" in out
    assert out.splitlines()[3].split() == ["matmul", "1.00", "unavailable"]
    code, out, _ = ganbench_cli("results", "list", results)
    assert out.splitlines()[-1].split()[:4] == ["aaaaaaaa-current-py3.11", "2026-11-23", "08:02", "there"]
    # Another description of the machine stays outside, and keeps nothing else from coming in.
    (results / "there" / "machine.json").write_text("{}")
    code, out, _ = ganbench_cli("results", "import", path, "--results", results)
    assert code == 0
    assert "another description of this machine is here and stays" in out
    assert (results / "there" / "machine.json").read_text() == "{}"


def test_a_file_of_asv_cannot_choose_a_place_outside(tmp_path, ganbench_cli):
    path = zipped(tmp_path / "a.zip", {"x.json": asv_file(machine="../up")})
    refused(path, tmp_path, ganbench_cli, "which is no name for a file")


def test_what_claims_to_hold_without_end_is_left_out(theirs, tmp_path):
    endless = json.loads(asv_file())
    endless["results"]["matmul.Matmul.track_call"][:2] = [None, [["'1x1x1'"] * 1000] * 5]
    file = next(theirs.rglob("*.jsonl"))
    lines = file.read_text().splitlines()
    many = [line for line in lines if '"measurement"' in line and '"matmul"' in line] * 100
    wide = json.loads(lines[0])
    wide["operations"] *= 100_000
    files = {
        "x.json": json.dumps(endless).encode(),
        "many.jsonl": "\n".join([lines[0], *many]).encode(),
        "wide.jsonl": "\n".join([json.dumps(wide), *lines[1:]]).encode(),
    }
    outcome = import_results(zipped(tmp_path / "a.zip", contents(theirs) | files), tmp_path / "results")
    assert len(outcome.taken) == 2
    assert [reason[:9] for _, reason in outcome.left_out] == ["it claims"] * 3


# What is hostile


def symlink_in_zip():
    entry = zipfile.ZipInfo("there/compare/link.jsonl")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return entry


def tar_entry(kind, name="there/compare/x.jsonl", target="/etc/passwd"):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def array(values):
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


RUN = b'{"type": "run"}\n'
HOSTILE = {
    "up": ({"../up.jsonl": RUN}, "leads out of the folder"),
    "up inside": ({"a/../../up.jsonl": RUN}, "leads out of the folder"),
    "up, Windows": ({"a\\..\\..\\up.jsonl": RUN}, "leads out of the folder"),
    "absolute": ({"/tmp/absolute.jsonl": RUN}, "leads out of the folder"),
    "drive": ({"C:/absolute.jsonl": RUN}, "leads out of the folder"),
    "unread, but up": ({"../../up.txt": RUN}, "leads out of the folder"),
    "long": ({"x" * 300 + ".jsonl": RUN}, "too long"),
    "very long": ({"/".join(["x" * 100] * 200): RUN}, "too long"),
    "unprintable": ({"a\x1b[2J.jsonl": RUN}, "cannot be printed"),
    "large": ({"a.jsonl": b" " * (archive.MAX_FILE + 1)}, "larger than 32 MiB"),
    "pickle": ({"a.jsonl": pickle.dumps(RUN)}, "is a pickle"),
    "pickle by name": ({"a.pkl": b"cos\nsystem\n"}, "is a pickle"),
    "array of objects": ({"a.npy": array(np.array([RUN], object))}, "is a pickle"),
    "record of objects": ({"a.npy": array(np.zeros(1, [("a", "f8"), ("b", "O")]))}, "is a pickle"),
    "nothing of ours": ({"a.txt": b"", "b.npy": array(np.zeros(3))}, "no results in"),
}  # fmt: skip


@pytest.mark.parametrize("write", [zipped, tarred])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused(theirs, tmp_path, ganbench_cli, write, case):
    files, named = HOSTILE[case]
    good = {} if case == "nothing of ours" else contents(theirs)
    path = write(tmp_path / ("a.zip" if write is zipped else "a.tgz"), good | files)
    refused(path, tmp_path, ganbench_cli, named)


@pytest.mark.parametrize(
    "entry",
    [
        symlink_in_zip(),
        *(
            tar_entry(kind)
            for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
        ),
    ],
    ids=["symlink in zip", "symlink", "hard link", "character device", "block device", "pipe"],
)
def test_links_and_devices_are_refused(theirs, tmp_path, ganbench_cli, entry):
    write, name = (zipped, "a.zip") if isinstance(entry, zipfile.ZipInfo) else (tarred, "a.tar.gz")
    path = write(tmp_path / name, contents(theirs) | {entry: b"/etc/passwd" if write is zipped else b""})
    refused(path, tmp_path, ganbench_cli, "is a link or a device")


def test_links_and_pipes_in_a_folder_are_refused(theirs, tmp_path, ganbench_cli):
    for number, make in enumerate((lambda p: p.symlink_to(tmp_path), lambda p: p.symlink_to("/etc/passwd"), os.mkfifo)):
        odd = theirs / f"odd{number}.jsonl"
        make(odd)
        refused(theirs, tmp_path, ganbench_cli, "is a link or a device")
        odd.unlink()


@pytest.mark.parametrize(("write", "name"), [(zipped, "a.zip"), (tarred, "a.tar.gz")])
def test_bombs_are_refused(theirs, tmp_path, ganbench_cli, monkeypatch, write, name):
    good = contents(theirs)
    monkeypatch.setattr(archive, "MAX_TOTAL", 2**20)
    bomb = write(tmp_path / name, good | {f"{n}.jsonl": b" " * 2**19 for n in range(3)})
    refused(bomb, tmp_path, ganbench_cli, "more than 1 MiB")
    bomb = write(tmp_path / name, good | {"unread.bin": b" " * 2**21})
    refused(bomb, tmp_path, ganbench_cli, "more than 1 MiB")
    monkeypatch.setattr(archive, "MAX_MEMBERS", 10)
    refused(write(tmp_path / name, {f"{n}.txt": b"" for n in range(11)}), tmp_path, ganbench_cli, "more than 10 files")
    monkeypatch.setattr(archive, "MAX_ARCHIVE", 10)
    refused(bomb, tmp_path, ganbench_cli, "is larger than")


def test_a_header_of_any_length_does_not_fill_the_memory(tmp_path, ganbench_cli, monkeypatch):
    monkeypatch.setattr(archive, "MAX_TOTAL", 2**20)
    entry = tarfile.TarInfo("a.jsonl")
    entry.pax_headers = {"comment": "x" * 2**22}
    refused(tarred(tmp_path / "a.tar.gz", {entry: b""}), tmp_path, ganbench_cli, "more than 1 MiB")


@pytest.mark.parametrize("field", ["machine", "run_id"])
@pytest.mark.parametrize("value", ["../../up", "/up", "a/b", "..", ".", "", "a\x00b", "x" * 300])
def test_a_run_cannot_choose_a_place_outside(craft, theirs, tmp_path, ganbench_cli, field, value):
    file = next(theirs.rglob("*.jsonl"))
    head, rest = file.read_text().split("\n", 1)
    file.write_text(json.dumps(json.loads(head) | {field: value}) + "\n" + rest)
    refused(theirs, tmp_path, ganbench_cli, "which is no name for a file")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tgz", "a.rar", "a", "nowhere.zip"])
def test_what_is_no_archive_is_refused(tmp_path, ganbench_cli, name):
    if name != "nowhere.zip":
        (tmp_path / name).write_bytes(b"not an archive")
    refused(tmp_path / name, tmp_path, ganbench_cli, name)


def test_an_encrypted_archive_is_refused(theirs, tmp_path, ganbench_cli):
    path = zipped(tmp_path / "a.zip", contents(theirs))
    raw = bytearray(path.read_bytes())
    raw[6] |= 1  # the flag of the first file; what the list of members says of it must agree
    place = raw.index(b"PK\x01\x02")
    raw[place + 8] |= 1
    path.write_bytes(raw)
    refused(path, tmp_path, ganbench_cli, "encrypted")


def refused(path, tmp_path, ganbench_cli, named):
    """Import, and see exit code 2, one message, and that nothing was written anywhere."""
    before = everything(tmp_path)
    code, out, err = ganbench_cli("results", "import", path, "--results", tmp_path / "results")
    assert code == 2
    assert named in err
    assert len(err.splitlines()) == 1
    assert out == ""
    assert not (tmp_path / "results").exists()
    assert everything(tmp_path) == before


# Nothing is overwritten


def test_a_file_that_differs_stops_everything(theirs, tmp_path, ganbench_cli):
    results = tmp_path / "results"
    _, second = sorted(theirs.rglob("*.jsonl"))
    mine = results / second.relative_to(theirs)
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    code, _, err = ganbench_cli("results", "import", theirs, "--results", results)
    assert code == 2
    assert f"{mine} exists and differs: nothing was imported" in err
    assert contents(results) == {mine.relative_to(results).as_posix(): b"precious"}


def test_two_files_that_claim_one_place_are_refused(theirs, tmp_path):
    file = next(theirs.rglob("*.jsonl"))
    (theirs / "copy.jsonl").write_bytes(file.read_bytes())
    assert len(import_results(theirs, tmp_path / "one").taken) == 2
    (theirs / "copy.jsonl").write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(UsageError, match="are both"):
        import_results(theirs, tmp_path / "two")


def test_a_results_folder_that_cannot_be_written_is_exit_2(theirs, tmp_path, ganbench_cli):
    (tmp_path / "file").write_text("")
    code, _, err = ganbench_cli("results", "import", theirs, "--results", tmp_path / "file" / "results")
    assert code == 2
    assert "--results" in err


# Whatever it is, it is refused or it can be read

FAST = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def imported(path):
    """Import into a new folder; return the results, if it was not refused."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "below" / "results"
        try:
            outcome = import_results(path, results)
        except UsageError:
            assert list(Path(folder).iterdir()) == []
            return None
        assert list(Path(folder).iterdir()) == [results.parent]
        assert list(results.parent.iterdir()) == [results]
        assert {path.relative_to(results) for path in results.rglob("*.jsonl")} == set(outcome.taken)
        table = ganbench.load_results(results)
        assert list(table.columns) == COLUMNS
        return table


@pytest.mark.parametrize(("write", "name"), [(zipped, "a.zip"), (tarred, "a.tar.gz")])
@pytest.mark.filterwarnings("ignore::ganbench.results.store.DamagedResultsWarning")
def test_a_damaged_archive_never_ends_in_a_traceback(theirs, tmp_path, write, name):
    whole = write(tmp_path / name, contents(theirs)).read_bytes()

    @FAST
    @given(st.integers(0, len(whole) - 1), st.binary(min_size=1, max_size=8), st.integers(0, len(whole)))
    def damaged(place, junk, end):
        (tmp_path / name).write_bytes((whole[:place] + junk + whole[place + len(junk) :])[: max(end, 1)])
        imported(tmp_path / name)

    damaged()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_name_leads_out(theirs, tmp_path):
    good = next(iter(contents(theirs).values()))

    @FAST
    @given(st.lists(st.sampled_from(["..", ".", "/", "\\", "a", "C:", "\x00", "~", "é", " ", ".jsonl"]), max_size=8))
    def named(parts):
        entry = zipfile.ZipInfo("a")
        entry.filename = "".join(parts) + ".jsonl"  # as it is: ZipInfo itself would cut it at a NUL
        path = zipped(tmp_path / "a.zip", {entry: good})
        table = imported(path)
        assert table is None or set(table["machine"]) <= {"there", "elsewhere"}

    named()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


@pytest.mark.filterwarnings("ignore::ganbench.results.store.DamagedResultsWarning")
def test_a_run_with_any_contents_can_be_read_or_is_left_out(theirs, tmp_path):
    lines = [json.loads(line) for line in next(theirs.rglob("*.jsonl")).read_text().splitlines()]

    @FAST
    @given(st.data())
    def changed(data):
        copy = json.loads(json.dumps(lines))
        line = data.draw(st.sampled_from(copy))
        line[data.draw(st.sampled_from(sorted(line)))] = data.draw(VALUES)
        path = tmp_path / "changed.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in copy))
        imported(path)

    changed()


@pytest.mark.parametrize("samples", [[0.0], [-1.0], [1e-320], [1e308, 1e308]])
def test_impossible_times_do_not_come_in(theirs, tmp_path, samples):
    file = next(theirs.rglob("*.jsonl"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        if line["type"] == "measurement":
            line["samples"] = samples
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    imported(file)
