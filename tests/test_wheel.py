"""The wheel of this repository, built from its source distribution and used where there is nothing else of it."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.workers
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The scripts of a new environment that holds the wheel, and sees the other packages of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("ganbench", "backends"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    paths = sysconfig.get_paths("venv", {"base": str(folder / "env"), "platbase": str(folder / "env")})
    # A folder that a .pth file names is searched, but its own .pth files are not read: no editable ganbench.
    (Path(paths["purelib"]) / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    python = Path(paths["scripts"]) / Path(sys.executable).name
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return Path(paths["scripts"])


def test_the_wheel_has_every_package_and_the_digits(installed, tmp_path):
    def ganbench(*arguments):
        done = subprocess.run([installed / "ganbench", *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = ganbench("list")
    for name in ("cupy", "jax", "keras", "mlx", "numpy", "tensorflow", "torch"):
        assert f"\n  {name}" in listed
    assert "broken" not in listed
    assert "gan_iteration" in ganbench("verify", "--preset", "tiny", "--backends", "numpy", "--ops", "gan_iteration")
    where = [installed / Path(sys.executable).name, "-c", "import ganbench; print(ganbench.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(installed.parent)


def test_an_index_would_take_both_distributions(installed):
    files = sorted(map(str, (installed.parents[1] / "dist").iterdir()))
    assert [Path(file).suffix for file in files] == [".whl", ".gz"]
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_every_module_is_in_the_wheel(installed):
    package = next(installed.parent.rglob("site-packages/ganbench"))
    for folder, name in ((ROOT / "ganbench", "."), (ROOT / "backends", "backends")):
        for path in folder.rglob("*"):
            if path.suffix in (".py", ".gz", ".txt", ".typed"):
                assert (package / name / path.relative_to(folder)).is_file(), path
