"""What must stand in the environment before any test imports JAX, which reads it once."""

import os

os.environ["JAX_ENABLE_X64"] = "1"  # float64 is tested; float32 stays float32
os.environ.setdefault("JAX_PLATFORMS", "cpu")
