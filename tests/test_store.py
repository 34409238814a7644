"""Run files: what was written is read, whatever happened to the file since."""

import errno
import json
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

import ganbench
from ganbench.errors import StorageError
from ganbench.results import store
from ganbench.results.records import RUN_FORMAT
from ganbench.results.run import open_run
from ganbench.results.store import DamagedResultsWarning
from ganbench.results.table import COLUMNS


@pytest.fixture(scope="module")
def run_file(tmp_path_factory):
    """One real run, made once."""
    comparison = ganbench.compare(
        ["numpy"], preset="tiny", ops=["matmul", "batch_norm"], rounds=2, results=tmp_path_factory.mktemp("results")
    )
    return comparison.path


@pytest.mark.workers
def test_every_line_is_strict_json(run_file):
    def refuse(token):
        raise AssertionError(token)

    for line in run_file.read_text().splitlines():
        json.loads(line, parse_constant=refuse)


@pytest.mark.workers
def test_header_holds_what_a_sceptic_asks_for(run_file):
    header = json.loads(run_file.read_text().splitlines()[0])
    assert header["format"] == RUN_FORMAT
    for key in ("cpu", "cpus", "memory_bytes", "gpus", "os", "python", "virtual"):
        assert key in header["environment"]
    assert header["spec"]["name"] == "tiny"
    assert header["seed"] == 0
    assert header["machine"] in str(run_file)


def test_any_cut_of_the_last_line_is_dropped_with_a_notice(run_file, tmp_path):
    whole = run_file.read_bytes().rstrip(b"\n")
    last = len(whole) - whole.rindex(b"\n") - 1
    expected = len(store.read_run(run_file)) - 1

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, last - 1))
    def torn(kept):
        path = tmp_path / "torn.jsonl"
        path.write_bytes(whole[: len(whole) - kept])
        with pytest.warns(store.DamagedResultsWarning, match="is incomplete"):
            assert len(store.read_run(path)) == expected

    torn()


@pytest.mark.parametrize("end", [b" ", b"", b"\r"])
def test_records_that_share_a_line_or_go_on_in_the_next_are_named(run_file, tmp_path, end):
    first, second, third, rest = run_file.read_bytes().split(b"\n", 3)
    path = tmp_path / "shared.jsonl"
    path.write_bytes(b"\n".join([first, second + end + third, rest]))
    with pytest.raises(StorageError, match="line 2: "):
        store.read_run(path)
    path.write_bytes(b"\n".join([first, second[:1] + b"\n" + second[1:], third, rest]))
    with pytest.raises(StorageError, match="line 2: "):
        store.read_run(path)


def test_empty_lines_do_not_count(run_file, tmp_path):
    path = tmp_path / "spaced.jsonl"
    path.write_bytes(run_file.read_bytes().replace(b"\n", b"\n\n \r\n"))
    assert store.read_run(path) == store.read_run(run_file)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "first line is not a header"),
        (b"not json\n", "first line is not a header"),
        (b"\xff\xfe\x00\n", "first line is not a header"),
        (b'{"type": "run", "format": 99}\n', "has format 99; this ganbench reads formats 1 and 2"),
        (b'{"type": "worker", "format": 1}\n', "this ganbench reads formats 1 and 2"),
        (b'{"type": "run", "format": 1}\n', "line 1"),
    ],
)
def test_foreign_files_are_named_and_skipped(run_file, tmp_path, content, fault):
    folder = tmp_path / "machine" / "compare"
    folder.mkdir(parents=True)
    (folder / "bad.jsonl").write_bytes(content)
    (folder / "good.jsonl").write_bytes(run_file.read_bytes())
    with pytest.warns(store.DamagedResultsWarning, match=r"bad\.jsonl") as caught:
        table = ganbench.load_results(tmp_path)
    assert fault in str(caught[0].message)
    assert len(table) == 2


def test_damage_inside_a_file_skips_that_file_alone(run_file, tmp_path):
    folder = tmp_path / "m" / "compare"
    folder.mkdir(parents=True)
    lines = run_file.read_bytes().splitlines()
    (folder / "bad.jsonl").write_bytes(b"\n".join([lines[0], b"{", *lines[1:]]))
    with pytest.warns(store.DamagedResultsWarning, match="line 2"):
        table = ganbench.load_results(tmp_path)
    assert len(table) == 0
    assert list(table.columns) == COLUMNS


def test_an_empty_folder_gives_an_empty_table_and_a_missing_one_an_error(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(ganbench.load_results(tmp_path).columns) == COLUMNS
    with pytest.raises(StorageError, match="does not exist"):
        ganbench.load_results(tmp_path / "nowhere")


def test_several_folders_at_once(run_file, tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name / "machine" / "compare"
        folder.mkdir(parents=True)
        head, rest = run_file.read_text().split("\n", 1)
        (folder / "run.jsonl").write_text(f"{json.dumps(json.loads(head) | {'run_id': f'of-{name}'})}\n{rest}")
    assert len(ganbench.load_results(tmp_path / "one", tmp_path / "two")) == 4


@pytest.mark.workers
def test_a_full_disk_keeps_what_was_written_and_says_so(tmp_path, monkeypatch):
    writes = 0

    def fsync(fd):
        nonlocal writes
        writes += 1
        if writes > 5:  # header, worker, two records of ceilings, and the first measurement
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", fsync)
    comparison = ganbench.compare(["numpy"], preset="tiny", ops=["matmul"], rounds=9, ceilings=False, results=tmp_path)
    assert "No space left on device" in comparison.ended.why
    assert str(comparison.path) in comparison.ended.why
    assert len(comparison.to_pandas()) == 1


@pytest.mark.workers
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_closing_on_a_full_disk_does_not_hide_the_result(tmp_path):
    """The buffer that could not be flushed is flushed again by close, which then failed and lost the table."""
    comparison = ganbench.compare(["numpy"], preset="tiny", ops=["matmul"], rounds=1, ceilings=False, results=None)
    with store.RunWriter(tmp_path / "run.jsonl") as writer:
        writer._file.close()
        writer._file = open("/dev/full", "wb")  # noqa: SIM115, PTH123
        with pytest.raises(StorageError, match="No space left"):
            writer.write(comparison.records[0])


FORMAT_1 = next((Path(__file__).parents[1] / "results").rglob("20261124T234348Z-2884.jsonl"))


def test_runs_of_format_1_are_read_as_those_of_format_2():
    run = open_run(FORMAT_1)
    table = ganbench.load_results(FORMAT_1)
    assert run.header.format == 1
    assert len(table) == 8
    assert table["median_s"].notna().all()
    assert table["ratio_low"].notna().sum() == 7  # all but the baseline
    assert table["cores"].notna().all()
    one = run.measurements[0]
    assert one.passes == [*range(len(one.samples))]
    assert one.disturbance.worst.steal >= one.disturbance.mean.steal >= 0


@pytest.mark.parametrize("field", ["samples", "cores", "disturbances"])
@pytest.mark.parametrize("value", [5, "x", [None], {"a": 1}])
def test_damaged_runs_of_format_1_are_named(tmp_path, field, value):
    lines = [json.loads(line) for line in FORMAT_1.read_text().splitlines()]
    for line in lines:
        if line["type"] == "measurement":
            line[field] = value
    path = tmp_path / "m" / "compare" / "r.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.warns(DamagedResultsWarning, match="left out"):
        assert ganbench.load_results(tmp_path).empty


def test_runs_of_format_1_are_not_continued(ganbench_cli):
    code, _, err = ganbench_cli("compare", "--resume", FORMAT_1, "--rounds", "99")
    assert code == 2
    assert "format 1, now 2" in err


def test_visits_and_passes_must_be_as_many(run_file, tmp_path):
    lines = [json.loads(line) for line in run_file.read_text().splitlines()]
    for line in lines:
        if line["type"] == "measurement":
            line["passes"] = [0] * len(line["samples"])
    path = tmp_path / "m" / "compare" / "r.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.warns(DamagedResultsWarning, match=r"samples in 1 passes"):
        assert ganbench.load_results(tmp_path).empty


def test_an_existing_run_is_never_overwritten(tmp_path):
    path = Path(tmp_path) / "run.jsonl"
    path.write_text("precious")
    with pytest.raises(StorageError):
        store.RunWriter(path)
    assert path.read_text() == "precious"
