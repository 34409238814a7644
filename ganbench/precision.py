"""The formats of arithmetic, and the wider formats that go with them.

Halves are always mixed precision: the arrays of layers and products are halves; parameters, moments, statistics and
losses are float32.
"""

from .errors import UnsupportedError, UsageError, unknown

PRECISIONS = {  # of each dtype; the first is its default
    "float64": ("ieee",),
    "float32": ("ieee", "tf32"),
    "bfloat16": ("mixed",),
    "float16": ("mixed",),
}
FULL = ("float32", "float64")  # the dtypes that every backend has
MEANING = {
    "ieee": "products in the dtype itself",
    "tf32": "float32 arrays whose products round their factors to 10 bits",
    "mixed": "halves with float32 parameters, moments and statistics",
}
AMPERE = 8.0  # the first compute capability with TF32
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}  # of one number


def precision_of(dtype: str, math: str = "") -> str:
    """Return the arithmetic for arrays of ``dtype``: ``math``, or the dtype's default if ``math`` is empty.

    Raises ``UsageError`` naming what is valid.
    """
    if dtype not in PRECISIONS:
        raise unknown("dtype", dtype, PRECISIONS)
    valid = PRECISIONS[dtype]
    if math and math not in MEANING:
        raise unknown("math", math, MEANING)
    if math and math not in valid:
        dtypes = " or ".join(name for name, listed in PRECISIONS.items() if math in listed)
        raise UsageError(
            f"math '{math}' is not valid with {dtype}: it is {MEANING[math]}, for {dtypes}; "
            f"{dtype} has {' and '.join(valid)}"
        )
    return math or valid[0]


def name_of(dtype: str, precision: str) -> str:
    """Return the one name of a combination: ``tf32``, or else the dtype."""
    return "tf32" if precision == "tf32" else dtype


def titled(dtype: str, precision: str) -> str:
    """Return the text for a title: ``float32``, ``float32 with TF32``, ``bfloat16 (mixed precision)``."""
    return {"tf32": f"{dtype} with TF32", "mixed": f"{dtype} (mixed precision)"}.get(precision, dtype)


def require_tf32(gpu: int, capability: float) -> None:
    """Raise ``UnsupportedError`` if a GPU has no TF32."""
    if capability < AMPERE:
        raise UnsupportedError(f"GPU {gpu} has no TF32: only GPUs from Ampere on (compute capability {AMPERE}) have it")


def require_full(itemsize: int, target: str, instead: str) -> None:
    """Raise ``UnsupportedError`` where ``target``, which has no halves, is given arrays of them."""
    if itemsize < BYTES["float32"]:
        raise UnsupportedError(f"{target} has only {' and '.join(FULL)}: use {instead} for halves")


def accumulation_dtype(dtype: str) -> str:
    """Return the dtype of parameters, moments and sums that go with arrays of ``dtype``."""
    return dtype if dtype in FULL else "float32"
