"""Other people's results: what is good is taken, and nothing is ever overwritten."""

import json

import pytest
from archives import asv_file, contents, refused, tarred, zipped

import ganbench
from ganbench.errors import UsageError
from ganbench.results.importing import import_results

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
    assert "notes.txt" not in out
    for named in (
        "foreign.jsonl: it is not a ganbench run",
        "newer.jsonl: it has format 99",
        "damaged.jsonl: line 2",
        "empty.jsonl: nothing was measured in it",
        "deep.jsonl: it is not a ganbench run",
        "deep.json: not JSON, or incomplete",
        "x.json: not a file of asv's",
        "benchmarks.json: asv writes it anew",
    ):
        assert named in out


def test_a_torn_run_is_taken_as_it_is(theirs, tmp_path):
    file = next(theirs.rglob("*.jsonl"))
    file.write_bytes(file.read_bytes()[:-40])
    assert len(import_results(file, tmp_path / "results").taken) == 1
    assert next((tmp_path / "results").rglob("*.jsonl")).read_bytes() == file.read_bytes()


def test_files_of_asv_come_in_beside_runs(theirs, tmp_path, ganbench_cli):
    about = json.dumps({"machine": "there", "version": 1}).encode()
    files = contents(theirs) | {"x/there/aaaaaaaa-current-py3.11.json": asv_file(), "x/there/machine.json": about}
    path = tarred(tmp_path / "a.tar.gz", files | {"x/benchmarks.json": b"{}", "x/there/torn.json": asv_file()[:-9]})
    results = tmp_path / "results"
    code, out, _ = ganbench_cli("results", "import", path, "--results", results)
    assert code == 0
    assert out.count("taken") == 4
    assert "torn.json: not JSON, or incomplete" in out
    assert (results / "there" / "aaaaaaaa-current-py3.11.json").read_bytes() == asv_file()
    assert (results / "there" / "machine.json").read_bytes() == about
    table = ganbench.load_results(results)
    assert table["source"].value_counts().to_dict() == {"compare": 16, "asv": 2}
    code, out, _ = ganbench_cli("report", results, "--source", "asv")
    assert code == 0
    assert out.startswith("there, any, float32 ieee, 2 threads, measured by asv, 2026-11-23\n")
    assert "matmul numpy 1.00 ms ±55.0% 1 baseline" in " ".join(out.split())
    assert "not available: torch" in out
    code, out, _ = ganbench_cli("results", "list", results)
    assert out.splitlines()[-1].split()[:3] == ["2026-11-23", "08:02", "there"]
    assert " aaaaaaaa-current-py3.11: matmul on numpy" in out.splitlines()[-1]
    # Another description of the machine stays outside, and keeps nothing else from coming in.
    (results / "there" / "machine.json").write_text("{}")
    code, out, _ = ganbench_cli("results", "import", path, "--results", results)
    assert code == 0
    assert "another description of this machine is here already, and was not replaced" in out
    assert (results / "there" / "machine.json").read_text() == "{}"


def test_a_file_of_asv_cannot_choose_a_place_outside(tmp_path, ganbench_cli):
    path = zipped(tmp_path / "a.zip", {"x.json": asv_file(machine="../up")})
    refused(path, tmp_path, ganbench_cli, "which is not a valid name of a file")


def test_what_claims_to_hold_without_end_is_left_out(theirs, tmp_path):
    endless = json.loads(asv_file())
    endless["results"]["matmul.Matmul.track_call"][:2] = [None, [["'1x1x1'"] * 1000] * 5]
    file = next(theirs.rglob("*.jsonl"))
    lines = file.read_text().splitlines()
    one = next(json.loads(line) for line in lines if '"measurement"' in line and '"matmul"' in line)
    many = [json.dumps(one | {"round": number}) for number in range(1, 600)]
    wide = json.loads(lines[0])
    wide["operations"] *= 100_000
    files = {
        "x.json": json.dumps(endless).encode(),
        "many.jsonl": "\n".join([lines[0], *many]).encode(),
        "wide.jsonl": "\n".join([json.dumps(wide), *lines[1:]]).encode(),
    }
    outcome = import_results(zipped(tmp_path / "a.zip", contents(theirs) | files), tmp_path / "results")
    assert len(outcome.taken) == 2
    reasons = dict(outcome.left_out)
    assert reasons["x.json"].startswith("it would have")
    assert reasons["many.jsonl"].startswith("it would have")
    assert reasons["wide.jsonl"].endswith("is named twice")


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
