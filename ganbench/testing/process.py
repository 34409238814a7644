"""The conformance of what a backend does in a process of its own."""

import importlib.util
import subprocess
import sys
from typing import ClassVar

import pytest

from ..backend import Backend


class ProcessConformance:
    """The part of the suite that needs another process."""

    backend_class: ClassVar[type[Backend]]

    def test_probe_imports_no_framework(self) -> None:
        cls = self.backend_class
        if importlib.util.find_spec(cls.__module__) is None:
            pytest.skip(f"{cls.__module__} cannot be imported by name in another process")
        code = (
            "import importlib, sys, ganbench.operations\n"
            f"loaded = {cls.module!r} in sys.modules\n"  # ganbench itself needs NumPy
            f"getattr(importlib.import_module({cls.__module__!r}), {cls.__qualname__!r}).probe()\n"
            f"sys.exit({cls.module!r} in sys.modules and not loaded)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr or f"probe() imports {cls.module}"
