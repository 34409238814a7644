"""The built-in backends, through the suite that every other backend can use."""

import importlib.util
import itertools
import sys

import numpy as np
import pytest
from cupy_on_numpy import Cublas, cupy_on_numpy
from msgspec.structs import replace

from ganbench import registry, testing
from ganbench.array_ops import Adam
from ganbench.errors import UnavailableError, UnsupportedError
from ganbench.gan import preset
from ganbench.operation import ModelOperation
from ganbench.operations import CONVOLUTIONS, OPERATIONS, operation
from ganbench.operations.networks import GANIteration
from ganbench.precision import FULL
from ganbench.testing import BackendConformance, images
from ganbench.verification.gate import GATED_ITERATIONS, verify

NumpyBackend, TorchBackend, JaxBackend, CupyBackend = BUILT_IN = tuple(
    map(registry.load, ("numpy", "torch", "jax", "cupy"))
)


# torch.compile takes ten seconds and more for each model: those that reach every formula, in the strict dtype. That of
# images is the one that is trained, too, so that it is compiled once.
ODD = {spec.name: spec for spec in testing.ODD_SPECS}
COMPILED = (
    preset("tiny"),
    testing.IMAGE_SPECS[1],
    *(ODD[name] for name in ("saturating-bn", "critic-activations", "hinge", "least-squares")),
)
# Under lax.scan the formulas are those of jit, tested on every model there.
SCANNED = (
    *map(preset, ("tiny", "mnist-mlp", "mnist-mlp-bn")),
    *COMPILED[1:],
    testing.IMAGE_SPECS[0],
)
# Of a backend, whatever its mode: tested in the default one.
OF_THE_CLASS = (
    "test_describes_itself",
    "test_probe",
    "test_probe_imports_no_framework",
    "test_signature",
    "test_unknown_device",
    "test_unknown_mode",
)


def _suites():
    """One class for each mode on each device here, so that a new mode is tested without a new line."""
    for backend in BUILT_IN:
        default = next(iter(backend.modes))
        for device, mode in itertools.product(backend.probe().devices, backend.modes):
            name = f"Test{backend.name.title()}{mode.title()}{device.title()}"
            if (mode, device) == ("graph", "cpu"):  # CUDA only, and says so: a test of its own
                continue
            attributes = {"specs": COMPILED, "dtypes": ("float64",)} if mode == "compile" else {}
            if mode == "scan":
                attributes = {"specs": SCANNED}
            if mode == "custom":  # in models without convolutions it is jit
                attributes = {"specs": (preset("tiny"), *testing.IMAGE_SPECS)}
            if mode != default:  # the rest is the default mode's, tested there
                own = [kind.name for kind in CONVOLUTIONS if mode in ("inplace", "custom", "textbook")]
                attributes |= {"operations": ("adam_step", "penalty_grad", "gan_iteration", *own)}
                attributes |= dict.fromkeys(OF_THE_CLASS)
            marks = [pytest.mark.modes] * (mode != default) + [pytest.mark.gpu] * (device != "cpu")
            yield name, attributes | {"backend_class": backend, "mode": mode, "device": device, "pytestmark": marks}


@pytest.mark.parametrize(
    ("backend", "kind"),
    [(cls, kind) for cls in BUILT_IN for kind in cls.device_kinds],
    ids=lambda v: getattr(v, "name", v),
)
def test_a_device_without_a_suite_is_missing_here(backend, kind):
    if reason := backend.probe().reasons.get(kind):
        pytest.skip(reason)
    assert f"Test{backend.name.title()}{next(iter(backend.modes)).title()}{kind.title()}" in globals()


for _name, _attributes in _suites():
    globals()[_name] = type(_name, (BackendConformance,), _attributes)


@pytest.mark.modes
def test_compiled_in_the_dtype_that_people_use():
    try:
        backend = TorchBackend(mode="compile")
    except UnavailableError as error:
        pytest.skip(str(error))
    case = GANIteration(preset("mnist-mlp"))
    answers = testing.answers(case, "float32")
    program = backend.prepare(case, case.inputs(answers.seed, "float32", images(case)))
    found = verify(program, case, answers, "float32")
    assert found.passed, found.reason


# The presets that are too large to be asked of every backend in every mode ----------------------------

LARGE = (replace(preset("wide"), batch=64), preset("deep"), preset("speech"))
# Nor in every operation: these are what an iteration is made of, and take as long as it does.
WITHIN_AN_ITERATION = {"adam_step", "gan_products", "generator_forward", "discriminator_forward"}
LARGE_OPERATIONS = tuple(name for name in OPERATIONS if name not in WITHIN_AN_ITERATION)


@pytest.mark.large
@pytest.mark.parametrize(("operation", "dtype"), testing.parameters(LARGE, FULL, LARGE_OPERATIONS))
def test_large_preset(operation, dtype):
    # The backends share the answers, which take longer than all else: for 'wide' to one iteration, or it takes minutes.
    wide = isinstance(operation, ModelOperation) and operation.spec.name == "wide"
    answers = testing.answers(operation, dtype, counts=(1,) if wide else (1, GATED_ITERATIONS))
    inputs = operation.inputs(answers.seed, dtype, images(operation))
    for backend_class in (NumpyBackend, TorchBackend, JaxBackend):
        found = verify(backend_class().prepare(operation, inputs), operation, answers, dtype)
        assert found.passed, f"{backend_class.name}: {found.reason}"


# CuPy without a GPU: its mathematics is NumPy's, and its device code meets a stand-in ---------------------


class TestCupyOnNumpy(BackendConformance):
    """The whole suite on the host, so that only CuPy's own kernels are left to a GPU."""

    backend_class = CupyBackend

    def missing(self):
        return ""

    @pytest.fixture(autouse=True)
    def _cupy(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "cupy", cupy_on_numpy())


@pytest.mark.modes
class TestCupyFusedOnNumpy(TestCupyOnNumpy):
    """Its formulas, unfused."""

    mode = "fused"
    operations = ("adam_step", "generator_forward", "penalty_grad", "gan_iteration")


@pytest.mark.modes
class TestCupyGraphOnNumpy(TestCupyOnNumpy):
    """What is captured, run as it is: every buffer is used as on the device."""

    mode = "graph"
    operations = ("gan_iteration",)

    @pytest.fixture(autouse=True)
    def _capture(self, monkeypatch):
        monkeypatch.setattr(CupyBackend, "_capture", lambda self, function: function)
        monkeypatch.setattr("ganbench.backends.cublas._loaded", Cublas)


def test_a_graph_needs_a_gpu():
    with pytest.raises(UnsupportedError, match=r"torch\.graph@cuda"):
        TorchBackend(mode="graph", device="cpu")


@pytest.mark.modes
@pytest.mark.parametrize("name", ["adam_step", "gan_iteration"])
@pytest.mark.parametrize("mode", JaxBackend.modes)
def test_jax_compiles_a_program_once(mode, name, caplog):
    import jax

    case = operation(name, preset("tiny"))
    inputs = case.inputs(0, "float32", images(case))
    backend = JaxBackend(mode)
    with jax.log_compiles(), caplog.at_level("WARNING", "jax"):
        program = backend.prepare(case, inputs)
        for restart in (program.reset, lambda: program.feed(inputs.batches, inputs.state)):
            program()
            program()
            restart()
        program()
    compiled = [record.message for record in caplog.records if record.message.startswith("Compiling jit(")]
    assert len(compiled) == 1


def test_adam_by_the_book_is_the_one_that_torch_takes_by_default():
    """On a GPU that is neither the fused one nor a loop over tensors."""
    backend, taken = TorchBackend("textbook"), {}
    backend._adam = lambda *arrays, **how: taken.update(how)
    ones = [backend.from_numpy(np.ones(3, "float32"))]
    backend.adam_step(Adam(), ones, ones, ones, ones, 1)
    defaults = backend.torch.optim.Adam(ones).defaults
    assert [taken.get(how) for how in ("fused", "foreach")] == [defaults["fused"], defaults["foreach"]]


def test_compile_without_a_compiler(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UnavailableError, match="needs a C"):
        TorchBackend(mode="compile")


def test_cupy_uses_the_device_it_is_given(monkeypatch):
    used, synchronised = [], []
    monkeypatch.setitem(sys.modules, "cupy", cupy_on_numpy(2, used, synchronised))
    backend = CupyBackend(device="cuda:1")
    assert used == [1]
    assert not synchronised
    backend.synchronize(backend.from_numpy(np.ones(3)))
    assert synchronised == [True]


@pytest.mark.parametrize(("devices", "message"), [(0, "no usable CUDA device: cudaErrorNoDevice"), (2, "sees 2")])
def test_cupy_without_the_device(monkeypatch, devices, message):
    monkeypatch.setitem(sys.modules, "cupy", cupy_on_numpy(devices))
    with pytest.raises(UnavailableError, match=message):
        CupyBackend(device="cuda:2")


@pytest.mark.parametrize("backend_class", [TorchBackend, JaxBackend, CupyBackend], ids=lambda cls: cls.name)
def test_a_missing_framework_is_named_with_its_install_command(monkeypatch, backend_class):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == backend_class.module else find(name))
    probe = backend_class.probe()
    assert not probe.installed
    assert not probe.devices
    assert set(probe.reasons) == set(backend_class.device_kinds)
    assert set(probe.reasons.values()) == {f"{backend_class.module} is not installed"}
    assert probe.install.startswith('pip install "ganbench[')
    with pytest.raises(UnavailableError, match=r"needs (torch|jax|cupy): pip install \"ganbench\["):
        backend_class()


@pytest.mark.parametrize(("precision", "tf32"), [("ieee", "0"), ("tf32", "1")])
def test_cupy_environment_sets_tf32(precision, tf32):
    assert CupyBackend.environment("cuda", "float32", precision, "cache")["CUPY_TF32"] == tf32
