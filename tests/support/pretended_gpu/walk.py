"""``make gpu`` with frameworks that pretend, a small model, one precision and two rounds; all else is its own."""

import importlib.util
from pathlib import Path

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("gpu_script", HERE.parents[2] / "benchmarks/gpu.py")
gpu = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gpu)
gpu.FRAMEWORKS = ("first", "second", "third")
gpu.TESTS = (str(HERE / "on_the_gpu.py"),)
gpu.PRECISIONS = {"float32": (*gpu.PRECISIONS["float32"], "--preset", "tiny")}
gpu.ROUNDS = "2"
gpu.main()
