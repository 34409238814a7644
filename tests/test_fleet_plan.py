"""What a plan says of machines: the names of hosts, what a job needs, and what it would measure there."""

import subprocess
from pathlib import Path

import pytest

from ganbench.errors import UsageError
from ganbench.fleet.machines import Description, misfit, off_gpu
from ganbench.fleet.plan import jobs_of, read_plan
from ganbench.fleet.ssh import place_of, ways

MATRIX = """
[[matrix]]
backends = ["torch", "numpy"]
presets = ["tiny"]
needs = ["{}"]
"""
ABOUT = Description(
    version="1", host="0" * 16, hardware="xeon-2c", cores=2, gpus=["NVIDIA H100"], declared=["Quiet"],
    knows=["torch", "numpy"], lacks={}, free_bytes=1, clock=0.0,
)  # fmt: skip
NAMES = {
    "gpu1": ("gpu1", "", ""),
    "gpu_1.example.org": ("gpu_1.example.org", "", ""),
    "root@localhost": ("localhost", "root", ""),
    "anna@uni.de@gpu1": ("gpu1", "anna@uni.de", ""),
    "gpu1:2222": ("gpu1", "", "2222"),
    "root@gpu1:2222": ("gpu1", "root", "2222"),
    "10.0.0.1:22": ("10.0.0.1", "", "22"),
    "::1": ("::1", "", ""),
    "root@fe80::1%eth0": ("fe80::1%eth0", "root", ""),
    "[::1]": ("::1", "", ""),
    "root@[::1]:22": ("::1", "root", "22"),
}
REFUSED = [
    "-oProxyCommand=id", "-oProxyCommand=id@gpu1", "root@-oProxyCommand=id", "-lroot@gpu1", "gpu1;id", "$(id)",
    "`id`@gpu1", "gpu1|id", "a b", "gpu1\n", "gpu1\0", "r\tt@gpu1", "gpu1/x", "..", "münchen", "@gpu1", "gpu1@", "",
    ":22", "gpu1:", "gpu1:0", "gpu1:65536", "gpu1:-1", "gpu1:٢٢", "gpu1:22:33", "[gpu1]:22", "[]:22", "[::1",
    "::1%$(id)", "[::1%;id]:22", "[-o]", "ssh://gpu1",
]  # fmt: skip


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "plan.toml"
        path.write_text(text)
        return read_plan(path)

    return write


def test_times_and_shares_are_written_as_on_the_command_line(written):
    texts = ('budget = "2m"\ntimeout = "1h"\nprecision = "7%"', "budget = 120\ntimeout = 3600.0\nprecision = 0.07")
    one, other = (jobs_of(written(f"{MATRIX.format('cpu')}{text}\n"), Path()) for text in texts)
    assert one == other
    assert one[0].plan.rigor.budget_s == 120


@pytest.mark.parametrize("name", NAMES)
def test_a_host_is_named_as_people_name_it(name):
    assert place_of(name) == NAMES[name]
    assert place_of(name).command[-2:] == ["--", NAMES[name][0]]


@pytest.mark.parametrize("name", REFUSED)
def test_a_host_that_ssh_or_a_shell_could_mistake_is_refused(name):
    with pytest.raises(UsageError, match=r"is not valid.*USER@HOST:PORT"):
        place_of(name)


def test_each_host_has_a_python_and_a_folder(tmp_path, written):
    """They reach a host as they are, whatever they mean to a shell; here the shell of this machine stands for it."""
    own = tmp_path / "it's $HOME;id"
    for python in (own, tmp_path / "venv"):
        python.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$1" "$3" >&3\n')
        python.chmod(0o755)
    ssh = written(f'''
        {MATRIX.format("cpu")}
        [ssh]
        python = "~/venv"
        folder = "/scratch"
        [ssh.hosts."root@gpu1:2222"]
        python = "{own}"
        folder = "a b;id"
    ''').ssh
    made = ways(["gpu1", "root@gpu1:2222"], ssh)
    said = [
        subprocess.run(way.command[-1], shell=True, cwd=tmp_path, capture_output=True, text=True).stdout.splitlines()
        for way in made.values()
    ]
    assert said == [["./venv", "-c", "/scratch"], [str(own), "-c", "a b;id"]]


@pytest.mark.parametrize("key", ["python", "folder"])
def test_a_python_or_folder_that_is_none_is_refused(written, key):
    for value in ("-c", "", "a\\u0000b"):
        with pytest.raises(UsageError, match="is not valid"):
            written(f'{MATRIX.format("cpu")}[ssh.hosts.gpu1]\n{key} = "{value}"\n')


@pytest.mark.parametrize("need", ["H100", "h100", "QUIET", "Gpu", "nvidia", "Xeon"])
def test_what_is_needed_has_no_case(tmp_path, written, need):
    (job,) = jobs_of(written(MATRIX.format(need)), tmp_path)
    assert misfit(job, ABOUT) == ""


def test_targets_on_the_cpu_of_a_job_that_needs_a_gpu_are_told(tmp_path, written, ganbench_cli):
    asked = MATRIX.format("GPU")
    assert off_gpu(jobs_of(written(asked), tmp_path), []) == ["torch", "numpy"]
    (named,) = jobs_of(written(MATRIX.format("h100")), tmp_path)
    assert off_gpu([named], []) == []  # it may be a name of anything
    assert off_gpu([named], [ABOUT]) == ["torch", "numpy"]
    for other in (asked.replace('"torch", "numpy"', '"torch@cuda"'), MATRIX.format("cpu")):
        assert off_gpu(jobs_of(written(other), tmp_path), [ABOUT]) == []
    written(asked)
    code, _, err = ganbench_cli("fleet", "plan", tmp_path / "plan.toml", "--results", tmp_path)
    assert code == 0
    assert "jobs that need a GPU measure torch, numpy on the CPU of its machine: " in err
    assert 'as in torch@cuda, or devices = ["cuda"]' in err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('budget = "2 hours"', "matrix 1 of the plan: budget '2 hours' is not valid: such as 120, 120s or 2m"),
        ('precision = "2s"', "matrix 1 of the plan: precision '2s' is not valid: such as 1% or 0.01"),
        ("timeout = []", "Expected a number or a text, got a list - at `$.matrix[0].timeout`"),
        ("on = 'all'", "unknown 'all' - at `$.matrix[0].on` (known: every, any)"),
        ("caches = 'hot'", "unknown 'hot' - at `$.matrix[0].caches` (known: warm, cold)"),
        ('[slurm]\ndirectives = ["--gres=gpu:1\\nid"]', "Expected a text of one line - at `$.slurm.directives[0]`"),
        ("[ssh.hosts.a]\npython = '-c'", "a text without '-' at its start, and without odd characters - at"),
        ("presets = 3", "Expected a list, got an integer - at `$.matrix[0].presets`"),
        ("preset = 'tiny'", "unknown field `preset` - at `$.matrix[0]` (known: backends, presets, models"),
    ],
)
def test_a_plans_fault_is_in_the_words_of_plans(tmp_path, ganbench_cli, line, words):
    plan = tmp_path / "plan.toml"
    plan.write_text(f'[[matrix]]\nbackends = ["numpy"]\n{line}\n')
    code, _, err = ganbench_cli("fleet", "status", plan)
    assert code == 2
    assert words in err
