"""Whatever another distribution's code raises, wherever it is called, becomes its row's reason."""

import json
import subprocess

import pytest
from commands import GANBENCH
from patience import LIMIT_S

pytestmark = pytest.mark.workers
FAILURES = {
    "broken": "backend 'broken' does not load: ModuleNotFoundError",
    "loud": "backend 'loud' fails when asked for its environment: RuntimeError: no environment today",
    "mute": "RuntimeError: no probe today",
    "odd": "backend 'odd' fails when asked for its environment: ValidationError",
    "nul": "ValueError: ",
    "lacking": "RuntimeError: no formats today",
}


def cli(outside, *arguments):
    return subprocess.run([*GANBENCH, *arguments], env=outside, capture_output=True, text=True, timeout=LIMIT_S)


@pytest.fixture(scope="module")
def rows(outside, tmp_path_factory):
    """One run of NumPy beside every plug-in that fails before its worker can."""
    results = tmp_path_factory.mktemp("results")
    targets = ",".join(["numpy", *FAILURES])
    done = cli(outside, "compare", "--backends", targets, "--preset", "tiny", "--rounds", "1", "--ops", "matmul",
               "--format", "json", "--results", results)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {row["target"]: row for row in json.loads(done.stdout)}


@pytest.mark.parametrize("name", FAILURES)
def test_a_plugin_that_raises_is_a_row_and_the_others_go_on(rows, name):
    assert rows["numpy"]["median_s"] > 0
    assert rows[name]["status"] == "failed"
    assert FAILURES[name] in rows[name]["reason"]
    assert "\n" not in rows[name]["reason"]


def test_list_names_what_fails_and_goes_on(outside):
    shown = cli(outside, "list")
    assert shown.returncode == 0
    for name in ("broken", "mute"):
        assert f"  {name}\n      broken: backend '{name}'" in shown.stdout
    assert "  outside 1.2.3\n" in shown.stdout


@pytest.mark.parametrize(("name", "said"), [("loud", "no environment today"), ("broken", "does not load")])
def test_a_training_says_why_its_plugin_fails(outside, tmp_path, name, said):
    done = cli(outside, "train", "--backend", name, "--preset", "tiny", "--iterations", "8", "--output", tmp_path / "t")
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_fails_where_nothing_could_be_verified(ganbench_cli):
    code, out, err = ganbench_cli("verify", "--preset", "tiny", "--backends", "cupy", "--ops", "matmul")
    assert code == 1
    assert "unavailable" in out
    assert "nothing was verified" in err


@pytest.mark.parametrize(("loss", "status"), [("saturating", "ok"), ("wgan-gp", "unsupported")])
def test_a_plugin_that_was_written_before_a_loss(outside, tmp_path, loss, status):
    done = cli(outside, "compare", "--backends", "numpy,earlier", "--preset", "tiny", "--loss", loss, "--rounds", "1",
               "--ops", "matmul,gan_iteration", "--format", "json", "--results", tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {(row["target"], row["operation"]): row for row in json.loads(done.stdout)}
    assert rows["earlier", "matmul"]["status"] == rows["numpy", "gan_iteration"]["status"] == "ok"
    assert rows["earlier", "gan_iteration"]["status"] == status
    if status != "ok":
        reason = "backend 'earlier' is not written for loss 'wgan-gp', only for non-saturating, saturating"
        assert rows["earlier", "gan_iteration"]["reason"] == reason


def test_a_training_of_a_loss_that_a_plugin_lacks(outside, tmp_path):
    done = cli(outside, "train", "--backend", "earlier", "--preset", "tiny", "--loss", "wgan-gp", "--iterations", "8",
               "--output", tmp_path / "t")  # fmt: skip
    assert done.returncode == 1
    assert "is not written for loss 'wgan-gp'" in done.stderr
    assert "Traceback" not in done.stderr
