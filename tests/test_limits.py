"""Ceilings: what is measured, how a bound follows from it, what refuses to be one."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, strategies as st

import ganbench
from ganbench import registry
from ganbench.errors import GanbenchError
from ganbench.gan import PRESETS
from ganbench.machine import environment
from ganbench.measure import bandwidth, ceilings
from ganbench.report.notes import details
from ganbench.results.bounds import Ceilings
from ganbench.results.records import Ceiling, CeilingRecord, Measurement

positive = st.floats(1e3, 1e15)
sizes = st.integers(1, 2**40)


def limits(products=(), bandwidths=(), device="cpu"):
    found = [Ceiling("product", n, rate) for n, rate in products]
    found += [Ceiling("bandwidth", size, rate) for size, rate in bandwidths]
    return Ceilings([CeilingRecord("numpy", device, found)])


@given(st.lists(st.tuples(sizes, positive), min_size=1), st.dictionaries(sizes, positive, min_size=1), sizes, sizes)
def test_a_bound_is_the_larger_of_compute_and_memory(products, bandwidths, flops, size):
    """Memory: at the best rate of arrays of that size or more, or that of the largest where none are as large."""
    bound = limits(products, bandwidths.items()).bound("cpu", flops, size)
    compute = flops / max(rate for _, rate in products)
    memory = size / max([rate for n, rate in bandwidths.items() if n >= size] or [bandwidths[max(bandwidths)]])
    assert bound.seconds == max(compute, memory)
    assert bound.by == ("compute" if compute > memory else "memory") or compute == memory


@given(st.lists(st.tuples(sizes, positive), min_size=1), sizes, sizes)
def test_more_bytes_never_have_more_bandwidth(bandwidths, one, other):
    small, large = sorted((one, other))
    found = limits((), bandwidths)
    largest = max(size for size, _ in bandwidths)
    if large <= largest:
        assert found.bandwidth("cpu", small).ceiling.value >= found.bandwidth("cpu", large).ceiling.value
    else:
        assert found.bandwidth("cpu", large).ceiling.size == largest


def test_from_cold_caches_everything_comes_from_memory():
    found = limits([(256, 1e12)], [(2**18, 1e11), (2**27, 1e10)])
    assert found.bound("cpu", 1, 2**10)[:2] == (2**10 / 1e11, "memory")
    assert found.bound("cpu", 1, 2**10, "cold")[:2] == (2**10 / 1e10, "memory")


def test_other_devices_give_no_bound():
    assert limits([(256, 1e9)], [(256, 1e9)], device="cuda").bound("cpu", 1, 1) is None
    assert limits([(256, 1e9)]).bound("cpu", 1, 1) is None


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_every_library_has_ceilings(name):
    visits = list(ceilings.find_ceilings(registry.load(name)(), "float32", "ieee", visit_s=1e-3))
    assert all(visit.value > 0 for visit in visits)
    (kind, _), *products = found = list(dict.fromkeys((visit.kind, visit.size) for visit in visits))
    assert kind == "latency"
    assert products == [("product", 256 * 2**i) for i in range(len(products))]
    assert len(visits) == ceilings.VISITS * len(found)


def test_a_wrong_product_gives_no_ceiling():
    class Wrong(registry.load("numpy")):
        def matmul_into(self, a, b, out):
            np.matmul(a, b, out=out)
            out[0, 0] += 100
            return out

    with pytest.raises(GanbenchError, match="width 256 is off"):
        list(ceilings.find_ceilings(Wrong(), "float32", "ieee", visit_s=1e-3))


def test_a_product_that_is_not_waited_for_gives_no_ceiling():
    """It would be so high that no time on the device could ever be called impossible, its own least of all."""

    class Lazy(registry.load("numpy")):
        def matmul_into(self, a, b, out):
            return lambda: a @ b

        def to_numpy(self, array):
            return super().to_numpy(array() if callable(array) else array)

    with pytest.raises(GanbenchError, match="before a product was done"):
        list(ceilings.find_ceilings(Lazy(), "float32", "ieee", visit_s=1e-3))


def test_bandwidth_of_cores_together(monkeypatch):
    monkeypatch.setattr(bandwidth, "last_level_cache", lambda cpus: 2**20)
    found = bandwidth.measure_bandwidth((), cores=2)
    assert [ceiling.size for ceiling in found] == [2**18, 2**19, 2**20, 2**21, 2**22, 2**23]  # read and written
    assert all(ceiling.value > 0 <= ceiling.scatter for ceiling in found)


def test_memory_is_measured_with_arrays_larger_than_all_caches_together(monkeypatch, tmp_path):
    """On a processor of eight parts with 32 MB each, 128 MB in all had fitted into caches, four times one of them."""
    for cpu in range(16):
        for index, size, shared in ((2, "1024K", f"{cpu}"), (3, "32768K", f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}")):
            folder = tmp_path / f"cpu{cpu}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            (folder / "size").write_text(f"{size}\n")
            (folder / "shared_cpu_list").write_text(f"{shared}\n")
    monkeypatch.setattr(environment, "CPUS", tmp_path)
    monkeypatch.setattr(bandwidth.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**36))
    assert environment.last_level_cache() == 2**25  # of one core
    assert bandwidth._sizes(range(16))[-1] == 2 * 4 * 8 * 2**25
    assert bandwidth._sizes([3])[-1] == 2 * 4 * 2**25
    assert environment.last_level_cache([99]) == environment.UNKNOWN_CACHE


def test_no_product_is_wider_than_8192_however_fast_a_device_is(monkeypatch):
    monkeypatch.setattr(ceilings, "_visits", lambda backend, square, *_: [1e-9 / square.n])
    found = ceilings._products(registry.load("numpy")(), "float32", "ieee", visit_s=1e-3)
    assert [one.size for one in found] == [256, 512, 1024, 2048, 4096, 8192]


@pytest.mark.workers
def test_a_run_holds_its_rows_against_its_own_ceilings(tmp_path):
    run = ganbench.compare(
        "numpy,torch,torch.textbook",
        preset="tiny",
        ops=["matmul", "adam_step", "gan_iteration"],
        rounds=2,
        results=None,
    )
    found = [(record.library, record.device) for record in run.records if isinstance(record, CeilingRecord)]
    assert sorted(found) == [("host", "cpu"), ("numpy", "cpu"), ("torch", "cpu")]  # once a library, in one round only
    table = run.to_pandas().set_index(["operation", "target"])
    assert "gan_products" not in table.index.get_level_values(0)
    assert (table["percent_of_ceiling"] > 0).all()
    assert set(table["bound"]) <= {"compute", "memory"}
    floor = table["percent_of_floor"]
    assert (floor["gan_iteration"] > 0).all()
    assert floor[["matmul", "adam_step"]].isna().all()
    products = [record.target for record in run.records if getattr(record, "operation", "") == "gan_products"]
    assert sorted(products) == ["numpy", "numpy", "torch", "torch"]  # one member of each library, in both rounds


@pytest.mark.workers
def test_device_times_are_held_against_the_floor():
    run = ganbench.compare("numpy,numpy.inplace", preset="tiny", ops=["gan_iteration"], rounds=1, results=None)
    device_s = {
        ("gan_products", "numpy"): 1.2e-5,
        ("gan_iteration", "numpy"): 6e-5,
        ("gan_iteration", "numpy.inplace"): 4.8e-5,
    }
    for record in run.records:
        if isinstance(record, Measurement):  # as a device would have it
            record.device_s[:] = [device_s[record.operation, record.target]] * len(record.samples)
    (line,) = [line for line in details(run, run.to_pandas()) if line.startswith("floor of gan_iteration")]
    assert line.endswith(", on the device 12.0 µs, 25% of numpy.inplace's 48.0 µs there")


@pytest.mark.workers
def test_the_floor_of_images_says_what_it_multiplies():
    run = ganbench.compare("numpy", preset="dcgan-8", ops=["gan_iteration"], rounds=1, results=None)
    lines = details(run, run.to_pandas())
    assert any(line.startswith("floor (im2col) of gan_iteration, the products of its windows") for line in lines)
    spec = PRESETS["dcgan-8"]
    assert spec.usual_flops > spec.iteration_flops
    both = f"gan_iteration {spec.iteration_flops:,} ({spec.usual_flops:,})"
    assert f"FLOP without products by zeros of padding (usual count, with them): {both}" in lines
