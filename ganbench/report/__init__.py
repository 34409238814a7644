"""Results made readable: the tables of a run, pivots over many, and the files that people export.

The names below take the DataFrame of ``ganbench.load_results`` and are fetched when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .choices import (
    CHARTS as CHARTS,
    EXCHANGE_FORMATS as EXCHANGE_FORMATS,
    PIVOT_FORMATS as PIVOT_FORMATS,
    RUN_FORMATS as RUN_FORMATS,
    THEMES as THEMES,
)

_HOMES = dict.fromkeys(("history", "ratio_matrix", "scaling", "style"), "pivots") | {
    "chart": "picture",
    "pack": "formats",
}
__all__ = ["chart", "history", "pack", "ratio_matrix", "scaling", "style"]

if TYPE_CHECKING:
    from .formats import pack
    from .picture import chart
    from .pivots import history, ratio_matrix, scaling, style


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganbench.report' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
