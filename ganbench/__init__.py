"""ganbench: which framework, in which mode, runs the matrix work of a GAN fastest, and how sure is that?

Importing this loads neither NumPy, pandas nor a framework; the names below are fetched when first used.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import report

_CLONE = Path(__file__).parents[1]
if (_CLONE / "backends" / "numpy_backend.py").is_file():  # ganbench was found in a clone: there they lie beside it
    __path__.append(str(_CLONE))

_HOMES = {
    "compare": "comparison",
    "Comparison": "comparison",
    "load_results": "results.loading",
    "diff": "report.difference",
    "train": "training.run",
    "load_state": "training.state",
    "generate": "training.pictures",
    "GANSpec": "gan",
    "PRESETS": "gan",
    "Backend": "backend",
    "Program": "backend",
    "GanbenchError": "errors",
}
__all__ = [*_HOMES, "report"]

if TYPE_CHECKING:
    from .backend import Backend as Backend, Program as Program
    from .comparison import Comparison as Comparison, compare as compare
    from .errors import GanbenchError as GanbenchError
    from .gan import PRESETS as PRESETS, GANSpec as GANSpec
    from .report.difference import diff as diff
    from .results.loading import load_results as load_results
    from .training.pictures import generate as generate
    from .training.run import train as train
    from .training.state import load_state as load_state

    __version__: str


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    if name not in _HOMES:
        raise AttributeError(f"module 'ganbench' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
