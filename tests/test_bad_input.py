"""What cannot be compared is exit code 2 and one message that says what is valid."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--backends", "toch"], "unknown backend 'toch' (known: cupy, jax, keras, mlx, numpy, tensorflow, torch)"),
        (["--backends", "torch.fast"], "eager, graph, manual, textbook"),
        (["--backends", "torch."], "eager, graph, manual, textbook"),
        (["--backends", "torch@tpu"], "cpu, cuda"),
        (["--backends", "numpy@cuda"], "unknown device of numpy 'cuda' (known: cpu)"),
        (["--backends", "numpy", "--devices", "cuda"], "unknown device of numpy 'cuda' (known: cpu)"),
        (["--backends", "torch@cuda:x"], "cuda:N"),
        (["--backends", ""], "no backends named"),
        (["--backends", "torch,torch.eager"], "named twice"),
        (["--backends", "torch@cuda,torch@cuda:0"], "named twice"),
        (["--backends", "torch@cuda,torch@cuda:00"], "named twice"),
        (["--ops", "conv"], "unknown operation 'conv'"),
        (["--ops", ","], "no operations named"),
        (["--preset", "huge"], ", dcgan-8, deep, mnist-mlp, "),
        (["--dtype", "int8"], "float32, float64"),
        (["--format", "xml"], "'markdown'"),
        (["--rigor", "sloppy"], "full, quick"),
        (["--batch", "0"], "batch 0 is not valid"),
        (["--batch", "x"], "not a valid integer"),
        (["--generator", "64,100", "--discriminator", "784,1"], "the two must be equal"),
        (["--generator", "64,x", "--discriminator", "784,1"], "integers separated by commas"),
        (["--generator", "64,784"], "together"),
        (["--threads", "-1"], "threads -1 is not valid"),
        (["--threads", "0"], "threads 0 is not valid"),
        (["--threads", "4096"], "this machine offers 1 to"),
        (["--rounds", "-1"], "rounds -1"),
        (["--budget", "-3"], "budget -3"),
        (["--timeout", "0"], "timeout 0"),
        (["--baseline", "jax"], "is not among the targets compared (numpy)"),
        (["--baseline", "nope"], "unknown backend 'nope'"),
        (["--data", "/nowhere/x.idx"], "No such file"),
        (["--model", "/nowhere/x.toml"], "cannot read model"),
        (["--export", "/nowhere/x.csv"], "does not exist"),
        (["--machine", "../x"], "machine '../x'"),
        (["--generator", "4,7", "--discriminator", "7,1"], "not a square"),
        (["--bogus"], "No such option"),
    ],
)
def test_bad_input_is_exit_2_and_one_message(tmp_path, ganbench_cli, arguments, named):
    given = [] if "--backends" in arguments else ["--backends", "numpy"]
    code, out, err = ganbench_cli("compare", "--results", tmp_path, *given, *arguments)
    assert code == 2, err
    assert named in err
    assert out == ""
    assert not list(tmp_path.rglob("*.jsonl"))
