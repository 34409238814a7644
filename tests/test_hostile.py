"""Archives of other people that are hostile, damaged or absurd: refused, left out with a reason, or passed over."""

import io
import json
import os
import pickle
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from archives import asv_file, contents, everything, refused, tarred, zipped
from hypothesis import HealthCheck, given, settings, strategies as st

import ganbench
from ganbench.errors import UsageError
from ganbench.results import archive
from ganbench.results.importing import import_results
from ganbench.results.table import COLUMNS


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
CODE = pickle.dumps(RUN)
HOSTILE = {
    "up": ({"../up.jsonl": RUN}, "../up.jsonl: it is not a ganbench run"),
    "up inside": ({"a/../../up.jsonl": RUN}, "a/../../up.jsonl: it is not a ganbench run"),
    "absolute": ({"/tmp/absolute.jsonl": RUN}, "/tmp/absolute.jsonl: it is not a ganbench run"),
    "unread, but up": ({"../../up.txt": RUN}, ""),
    "unprintable": ({"a\x1b[2J.jsonl": RUN}, "a?[2J.jsonl: it is not a ganbench run"),
    "long": ({"/".join(["x" * 100] * 200) + ".jsonl": RUN}, "x.jsonl: it is not a ganbench run"),
    "large": ({"a.jsonl": b" " * (archive.MAX_FILE + 1)}, "a.jsonl: it is larger than 32 MiB"),
    "pickle": ({"a.jsonl": CODE, "b.json": CODE}, "b.json: not JSON"),
    "unread": ({"a.pkl": b"cos\nsystem\n", "model.pt": CODE, "b.npy": array(np.array([RUN], object))}, ""),
}  # fmt: skip


def taken(path, theirs, tmp_path, ganbench_cli):
    """Import, and see that what is good came in, and nothing else was written anywhere; return what was said."""
    before = everything(tmp_path)
    code, out, err = ganbench_cli("results", "import", path, "--results", tmp_path / "results")
    assert (code, err) == (0, "")
    assert contents(tmp_path / "results") == theirs
    assert everything(tmp_path) == before
    return out


@pytest.mark.parametrize("write", [zipped, tarred])
@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_hostile_stays_outside(theirs, tmp_path, ganbench_cli, write, case):
    files, named = HOSTILE[case]
    path = write(tmp_path / ("a.zip" if write is zipped else "a.tgz"), contents(theirs) | files)
    out = taken(path, contents(theirs), tmp_path, ganbench_cli)
    assert named in out
    assert named or "left out" not in out
    alone = write(tmp_path / ("b.zip" if write is zipped else "b.tgz"), files)
    code, _, err = ganbench_cli("results", "import", alone, "--results", tmp_path / "more")
    assert code == 2
    assert "no results in" in err
    assert not (tmp_path / "more").exists()


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
def test_links_and_devices_are_passed_over(theirs, tmp_path, ganbench_cli, entry):
    write, name = (zipped, "a.zip") if isinstance(entry, zipfile.ZipInfo) else (tarred, "a.tar.gz")
    path = write(tmp_path / name, contents(theirs) | {entry: b"/etc/passwd" if write is zipped else b""})
    taken(path, contents(theirs), tmp_path, ganbench_cli)


def test_links_and_pipes_in_a_folder_are_passed_over(theirs, tmp_path, ganbench_cli):
    good = contents(theirs)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "private.jsonl").write_bytes(next(iter(good.values())).replace(b"there", b"private"))
    (theirs / "folder").symlink_to(outside)
    (theirs / "link.jsonl").symlink_to(outside / "private.jsonl")
    os.mkfifo(theirs / "pipe.jsonl")
    (theirs / "model.pt").write_bytes(CODE)
    assert "left out" not in taken(theirs, good, tmp_path, ganbench_cli)


@pytest.mark.parametrize(("write", "name"), [(zipped, "a.zip"), (tarred, "a.tar.gz")])
def test_bombs_are_refused(theirs, tmp_path, ganbench_cli, monkeypatch, write, name):
    good = contents(theirs)
    monkeypatch.setattr(archive, "MAX_TOTAL", 2**20)
    bomb = write(tmp_path / name, good | {f"{n}.jsonl": b" " * 2**19 for n in range(3)})
    refused(bomb, tmp_path, ganbench_cli, "more than 1 MiB")
    bomb = write(tmp_path / name, good | {"unread.bin": b" " * 2**21})
    if write is tarred:  # of a .zip it is not unpacked
        refused(bomb, tmp_path, ganbench_cli, "more than 1 MiB")
    monkeypatch.setattr(archive, "MAX_MEMBERS", 10)
    refused(write(tmp_path / name, {f"{n}.txt": b"" for n in range(11)}), tmp_path, ganbench_cli, "more than 10 files")
    monkeypatch.setattr(archive, "MAX_ARCHIVE", 10)
    refused(bomb, tmp_path, ganbench_cli, "has more than")


def test_a_header_of_any_length_does_not_fill_the_memory(tmp_path, ganbench_cli, monkeypatch):
    monkeypatch.setattr(archive, "MAX_TOTAL", 2**20)
    entry = tarfile.TarInfo("a.jsonl")
    entry.pax_headers = {"comment": "x" * 2**22}
    refused(tarred(tmp_path / "a.tar.gz", {entry: b""}), tmp_path, ganbench_cli, "more than 1 MiB")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_zipfile_unpacks_without_a_bound_is_refused(tmp_path, ganbench_cli, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        file.writestr("a.jsonl", b" " * 2**20)
    refused(tmp_path / "a.zip", tmp_path, ganbench_cli, "it is not compressed with deflate")


@pytest.mark.parametrize("field", ["machine", "run_id"])
@pytest.mark.parametrize("value", ["../../up", "/up", "a/b", "..", ".", "", "a\x00b", "x" * 300])
def test_a_run_cannot_choose_a_place_outside(craft, theirs, tmp_path, ganbench_cli, field, value):
    file = next(theirs.rglob("*.jsonl"))
    head, rest = file.read_text().split("\n", 1)
    file.write_text(json.dumps(json.loads(head) | {field: value}) + "\n" + rest)
    before = everything(tmp_path)
    code, out, _ = ganbench_cli("results", "import", theirs, "--results", tmp_path / "results")
    assert code == 0
    assert f"left out {file.relative_to(theirs)}: " in " ".join(out.split())
    assert "which is not a valid name of a file" in " ".join(out.split())
    assert [path.stem for path in (tmp_path / "results").rglob("*.jsonl")] == [
        path.stem for path in theirs.rglob("*.jsonl") if path != file
    ]
    assert everything(tmp_path) == before
    for path in theirs.rglob("*.jsonl"):
        if path != file:
            path.unlink()
    refused(theirs, tmp_path / "alone", ganbench_cli, "which is not a valid name of a file")


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


@pytest.mark.parametrize("samples", [[0.0], [-1.0], [1e-320], [1e-11], [1e7], [1e308, 1e308]])
def test_impossible_times_do_not_come_in(theirs, tmp_path, samples):
    file = next(theirs.rglob("*.jsonl"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        if line["type"] == "measurement":
            line |= {"samples": samples, "passes": [*range(len(samples))]}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UsageError, match=r"its numbers cannot be used|a time of"):
        import_results(file, tmp_path / "results")


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-320, 1e7])
def test_impossible_times_of_asv_do_not_come_in(tmp_path, seconds):
    (tmp_path / "asv.json").write_bytes(asv_file())
    assert import_results(tmp_path / "asv.json", tmp_path / "results").taken
    content = json.loads(asv_file())
    for stored in content["results"].values():
        stored[0] = [seconds for _ in stored[0]]
    (tmp_path / "asv.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"its numbers cannot be used|a time of"):
        import_results(tmp_path / "asv.json", tmp_path / "more")
