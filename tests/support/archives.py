"""Archives as other people make them, and what lies in a folder."""

import io
import json
import math
import tarfile
import zipfile


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
