"""``ganbench model from-torch``: networks as people write them, and what each fault is told as."""

import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from ganbench import registry
from ganbench.gan import preset
from ganbench.layers import parameters
from ganbench.model_file import read_spec
from ganbench.training.pictures import generate

torch = pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[1]
NAMES = ("make_generator", "make_discriminator")

BLOCKS = """
def block(n_in, n_out, normalize=True):
    layers = [nn.Linear(n_in, n_out)]
    if normalize:
        layers.append(nn.BatchNorm1d(n_out))
    layers.append(nn.LeakyReLU(0.2, inplace=True))
    return layers

def make_generator():
    return nn.Sequential(*block(100, 128, normalize=False), *block(128, 256), *block(256, 512),
                         nn.Linear(512, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)))

def make_discriminator():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.LeakyReLU(0.2, inplace=True), nn.Linear(512, 256),
                         nn.LeakyReLU(0.2, inplace=True), nn.Linear(256, 1), nn.Sigmoid())
"""
NESTED = """
from collections import OrderedDict

class Generator(nn.Sequential):
    def __init__(self, z=10):
        super().__init__(self.block(z, 32), self.block(32, 64), nn.Sequential(nn.Linear(64, 36), nn.Sigmoid()))

    def block(self, n_in, n_out):
        return nn.Sequential(nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), nn.ReLU(inplace=True))

make_generator = Generator
relu = nn.ReLU()
make_discriminator = nn.Sequential(OrderedDict(fc1=nn.Linear(36, 24), act1=relu, fc2=nn.Linear(24, 12), act2=relu,
                                               out=nn.Linear(12, 1)))
"""
PROJECTED = """
class Generator(nn.Module):
    def __init__(self, nz):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(nz, 16 * 7 * 7), nn.BatchNorm1d(16 * 7 * 7), nn.Unflatten(1, (16, 7, 7)), nn.ReLU(),
            nn.ConvTranspose2d(16, 8, kernel_size=4, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, kernel_size=3, padding="same"), nn.ReLU(),
            nn.ConvTranspose2d(8, 1, kernel_size=4, stride=2, padding=1), nn.Tanh(),
        )

    def forward(self, z):
        return self.net(z)

def make_generator(nz=32):
    return Generator(nz).net

def make_discriminator():
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=5, stride=2, padding=2), nn.LeakyReLU(0.2),
        nn.Conv2d(8, 16, kernel_size=5, stride=2, padding=2, bias=False), nn.BatchNorm2d(16), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(16 * 7 * 7, 1),
    )
"""
WRITTEN = {"blocks": (BLOCKS, 100), "nested": (NESTED, 10), "projected": (PROJECTED, 32), "example": (None, 100)}


def file_of(code, folder):
    if code is None:
        return ROOT / "examples" / "dcgan_networks.py"
    path = folder / "nets.py"
    path.write_text(f"from torch import nn\n{code}")
    return path


def read(ganbench_cli, path, noise, output):
    return ganbench_cli(
        "model", "from-torch", *(f"{path}:{name}" for name in NAMES), "--input", noise, "--output", output
    )


def modules(path):
    """Return both networks in float64, with every number drawn anew: no gamma is 1, and no bias 0."""
    space = {}
    exec(path.read_text(), space)
    found = []
    for number, made in enumerate(map(space.get, NAMES)):
        torch.manual_seed(number)
        module = (made if isinstance(made, torch.nn.Module) else made()).double()
        for one in (*module.parameters(), *module.buffers()):
            if one.is_floating_point():
                one.data = (
                    0.5 + torch.rand_like(one) if one.ndim == 1 else torch.randn_like(one) / one[0].numel() ** 0.5
                )
        found.append(module)
    return found


def numbers(module, layers):
    """Return the parameters and running statistics of a network as ganbench has them."""
    leaves = [one for one in module.modules() if not isinstance(one, torch.nn.Sequential)]
    params, running = [], []
    for one in leaves:
        if "BatchNorm" in type(one).__name__:
            bias = params.pop() if params[-1].ndim == 1 else 0  # it moves the mean, which is subtracted
            running += [one.running_mean.numpy() - bias, one.running_var.numpy().copy()]
        params += [parameter.detach().numpy() for parameter in one.parameters()]
    assert [array.shape for array in params] == [shape for _, shape in parameters(layers)]
    return params, running


@pytest.mark.parametrize("case", WRITTEN)
def test_the_model_computes_what_the_modules_compute(case, tmp_path, ganbench_cli):
    code, noise = WRITTEN[case]
    path = file_of(code, tmp_path)
    done = read(ganbench_cli, path, noise, tmp_path / "my.toml")
    assert done[0] == 0, done[2]
    spec, numpy = read_spec(tmp_path / "my.toml"), registry.load("numpy")()
    generator, discriminator = modules(path)
    g, running = numbers(generator, spec.generator_layers)
    d, _ = numbers(discriminator, spec.discriminator_layers)
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.standard_normal((4, noise, 1, 1) if case == "example" else (4, noise)))
    with torch.no_grad():
        kept = generator.eval()(z)
        made = generator.train()(z)  # which changes the statistics that ``numbers`` has taken
        ends_in_sigmoid = isinstance(discriminator[-1], torch.nn.Sigmoid)
        logits = (discriminator[:-1] if ends_in_sigmoid else discriminator).train()(made).flatten().numpy()
    rows = z.reshape(4, -1).numpy()
    assert relative(numpy.generator_forward(spec, g, rows), made) < 1e-12
    assert relative(numpy.discriminator_forward(spec, d, made.reshape(4, -1).numpy()), logits) < 1e-12
    assert relative(generate(spec, g, running, rows), kept) < 1e-12
    assert ("BCELoss is the loss 'non-saturating'" in done[2]) == ends_in_sigmoid


def relative(ours, theirs):
    theirs = np.asarray(theirs).ravel()
    assert theirs.std() > 1e-3
    return np.linalg.norm(np.asarray(ours).ravel() - theirs) / np.linalg.norm(theirs)


def test_the_example_of_pytorch_is_the_preset(tmp_path, ganbench_cli):
    read(ganbench_cli, file_of(None, tmp_path), 100, tmp_path / "my.toml")
    ours = preset("dcgan-64")
    assert replace(read_spec(tmp_path / "my.toml"), name=ours.name, beta1=ours.beta1, init=ours.init) == ours


def test_dense_networks_are_lists_of_integers(tmp_path, ganbench_cli):
    path = file_of(BLOCKS.replace("normalize=True", "normalize=False"), tmp_path)
    code, _, errors = read(ganbench_cli, path, 100, tmp_path / "my.toml")
    assert code == 0
    assert "generator[3]: its bias is left out" not in errors
    text = (tmp_path / "my.toml").read_text()
    assert "discriminator = [[1, 28, 28], 512, 256, 1]" in text
    assert read_spec(tmp_path / "my.toml").kinds == ("dense", "reshape"), "an image that is made is a table"


def test_a_bias_that_batch_norm_subtracts_is_told(tmp_path, ganbench_cli):
    errors = read(ganbench_cli, file_of(BLOCKS, tmp_path), 100, tmp_path / "my.toml")[2]
    assert errors.count("its bias is left out, since BatchNorm1d subtracts it again") == 2
    assert "generator[2]: its bias" in errors


FAULTS = [  # a generator behind Linear(4, 8), and what is said
    ("nn.Dropout(0.5)", "[1]: Dropout(p=0.5, inplace=False) cannot be read; nearest: leave it out"),
    ("nn.LeakyReLU()", "[1]: negative_slope=0.01 of LeakyReLU cannot be read; nearest: negative_slope=0.2"),
    ("nn.BatchNorm1d(8, 0.8)", "[1]: eps=0.8 of BatchNorm1d cannot be read; nearest: eps=1e-05"),
    ("nn.BatchNorm1d(8, momentum=None)", "momentum=None of BatchNorm1d"),
    ("nn.BatchNorm1d(8, affine=False)", "affine=False of BatchNorm1d"),
    ("nn.BatchNorm1d(9)", "behind it cannot be read; nearest: BatchNorm of 8"),
    ("nn.BatchNorm2d(8)", "[1]: BatchNorm2d behind Linear cannot be read; nearest: the BatchNorm of its kind"),
    ("nn.ReLU(), nn.BatchNorm1d(8)", "[2]: BatchNorm1d in this place cannot be read; nearest: BatchNorm1d between"),
    ("nn.ReLU(), nn.Tanh()", "[2]: Tanh() in this place cannot be read; nearest: one activation behind each layer"),
    ("nn.GELU()", "[1]: GELU(approximate='none') cannot be read; nearest: LeakyReLU(0.2)"),
    ("nn.InstanceNorm1d(8)", "nearest: BatchNorm2d, or none"),
    ("nn.LazyLinear(3)", "nearest: the same with its sizes"),
    ("nn.Conv2d(8, 3, 1)", "[1]: Conv2d of rows cannot be read; nearest: Unflatten(1, (C, H, W)) before it"),
    ("nn.Linear(9, 3)", "gets 8, which needs a weight 3 × 8, not 3 × 9, and cannot be read; nearest: other sizes"),
    ("nn.Unflatten(1, (2, 4))", "nearest: Unflatten(1, (C, H, W))"),
    ("nn.Unflatten(1, (2, 2, 3))", "2 × 2 × 3 is not as many values as 8, which generator[1] gives"),
    ("nn.Unflatten(1, (2, 2, 2)), nn.Linear(2, 3)", "[2]: Linear of images cannot be read; nearest: Flatten() before"),
    (
        "nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 2, (1, 3))",
        "kernel_size=(1, 3) of Conv2d cannot be read; nearest: kernel_size=3",
    ),
    (
        "nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 2, 2, padding='same')",
        "padding=same of Conv2d cannot be read; nearest: padding=0",
    ),
    (
        "nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 2, 1, groups=2)",
        "groups=2 of Conv2d cannot be read; nearest: groups=1",
    ),
    ("nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 2, 3)", "kernel 3 with padding 0 leaves no pixel of 2 × 2 × 2"),
    ("nn.Unflatten(1, (2, 2, 2)), nn.Upsample(scale_factor=2)", "nearest: ConvTranspose2d with kernel_size=4"),
    ("nn.Unflatten(1, (2, 2, 2)), nn.ConvTranspose2d(2, 2, 3, 2, 1, 1)", "output_padding=(1, 1) of ConvTranspose2d"),
    ("nn.Sequential(nn.ReLU(), Block())", "[1][1]: Block cannot be read; nearest: nn.Sequential of its layers, with"),
    ("torch.nn.utils.spectral_norm(nn.Linear(8, 8))", "what is hooked into Linear, such as a norm of its weight,"),
    ("torch.nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))", "ParametrizedLinear cannot be read"),
    ("nn.Linear(8, 8).requires_grad_(False)", "[1]: Linear, whose weight is not trained, cannot be read; nearest: req"),
    ("*[nn.Linear(8, 8)] * 2", "[2]: Linear, whose weight another layer has too, cannot be read"),
]


@pytest.mark.parametrize(("behind", "said"), FAULTS)
def test_what_cannot_be_read_is_told_with_its_place_and_what_is_nearest(tmp_path, ganbench_cli, behind, said):
    code = f"""
import torch

class Block(nn.Module):
    pass

def make_generator():
    return nn.Sequential(nn.Linear(4, 8), {behind})

def make_discriminator():
    return nn.Sequential(nn.Flatten(), nn.Linear(8, 1))
"""
    done = read(ganbench_cli, file_of(code, tmp_path), 4, tmp_path / "my.toml")
    assert (done[0], done[1]) == (2, "")
    assert said in done[2]
    assert not (tmp_path / "my.toml").exists()


def test_all_faults_are_told_at_once(tmp_path, ganbench_cli):
    code = BLOCKS.replace("nn.Tanh()", "nn.Softsign()").replace("nn.Sigmoid()", "nn.Dropout()").replace("(0.2", "(0.3")
    errors = read(ganbench_cli, file_of(code, tmp_path), 100, tmp_path / "my.toml")[2]
    assert errors.count("negative_slope=0.3 of LeakyReLU") == 5
    assert "nearest: Tanh" in errors
    assert "nearest: leave it out" in errors


FINE = "nn.Sequential(nn.Linear(4, 1))"
ASKED = [  # a file, and what is said of ``make_generator`` in it
    ("make = 1", "unknown function of"),
    ("def make_generator(nz, ngf=2): return 1", "make_generator(nz, ngf=2) is called without arguments, but needs"),
    ("make_generator = 3", "make_generator is of type int: name a function that returns an nn.Sequential"),
    ("def make_generator(): return [1]", "generator: list cannot be read; nearest: return an nn.Sequential"),
    (
        "def make_generator(): return nn.Linear(4, 1)",
        "generator: Linear cannot be read; nearest: an nn.Sequential of",
    ),
    ("def make_generator(): return nn.Sequential()", "a network without a layer cannot be read"),
    ("def make_generator():\n    raise OSError('no weights')", "nets.py, line 3: OSError: no weights"),
    ("import argparse\nraise SystemExit(2)", "nets.py, line 3: SystemExit: 2; it is run as an import would run it"),
    ("def (", "SyntaxError: "),
    ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
]


@pytest.mark.parametrize(("code", "said"), ASKED)
def test_what_a_file_must_have(tmp_path, ganbench_cli, code, said):
    code += f"\ndef make_discriminator(): return {FINE}" if "def (" not in code else ""
    done = read(ganbench_cli, file_of(code, tmp_path), 4, tmp_path / "my.toml")
    assert (done[0], done[1]) == (2, "")
    assert said in done[2]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nets:make", "'nets:make' is not valid: FILE.py:FUNCTION, such as nets.py:make_generator"),
        ("nets.py", "'nets.py' is not valid"),
        ("nowhere.py:make", "nowhere.py is not a file"),
    ],
)
def test_a_place_that_is_none(ganbench_cli, where, said):
    code, _, errors = ganbench_cli("model", "from-torch", where, where, "--input", 4)
    assert code == 2
    assert said in errors


def test_a_module_with_a_forward_of_its_own_may_hold_a_sequential(tmp_path, ganbench_cli):
    code = PROJECTED.replace("Generator(nz).net", "Generator(nz)")
    errors = read(ganbench_cli, file_of(code, tmp_path), 32, tmp_path / "my.toml")[2]
    assert (
        "generator: Generator cannot be read; nearest: its net: return Generator(…).net, if its forward does" in errors
    )
    code = NESTED.replace(
        "    def block", "    def forward(self, z):\n        return -super().forward(z)\n\n    def block"
    )
    errors = read(ganbench_cli, file_of(code, tmp_path), 10, tmp_path / "my.toml")[2]
    assert "generator: Generator cannot be read" in errors


def test_without_pytorch(tmp_path, ganbench_cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    code, _, errors = read(ganbench_cli, file_of(BLOCKS, tmp_path), 4, tmp_path / "my.toml")
    assert code == 2
    assert 'needs PyTorch, which is not here: pip install "ganbench[torch]"' in errors


def test_without_an_output_it_prints_the_model(tmp_path, ganbench_cli):
    path = file_of("print('hello')\n" + NESTED, tmp_path)
    places = [f"{path}:{name}" for name in NAMES]
    code, out, errors = ganbench_cli("model", "from-torch", *places, "--input", 10)
    assert (code, "hello" in errors) == (0, True)
    (tmp_path / "it.toml").write_text(out)
    assert read_spec(tmp_path / "it.toml").discriminator == (36, 24, 12, 1)
