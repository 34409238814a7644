"""The tidy table as one Parquet dataset, partitioned by machine, for tools that query files."""

from importlib.metadata import version
from pathlib import Path

import pandas as pd

from ..errors import UnavailableError, UsageError


def pack(table: pd.DataFrame, output: str | Path) -> list[Path]:
    """Write ``table`` (of ``ganbench.load_results``) below ``output``; return the files that were written.

    One folder ``machine=...`` for each machine, samples as lists of doubles. Raises ``UsageError`` where
    ``output`` holds anything already or nothing was measured, ``UnavailableError`` without pyarrow.
    """
    try:
        import pyarrow as pa
        from pyarrow import dataset
    except ImportError as error:
        raise UnavailableError('Parquet needs pyarrow: pip install "ganbench[report]"') from error
    folder = Path(output)
    if table.empty:
        raise UsageError("no results to pack: run 'ganbench compare', or name another folder")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty and would be mixed up: name a new folder with --output")
        samples = [None if values is None or isinstance(values, float) else list(values) for values in table["samples"]]
        packed = pa.Table.from_pandas(table.drop(columns="samples"), preserve_index=False)
        place = list(table.columns).index("samples")
        packed = packed.add_column(place, "samples", pa.array(samples, pa.list_(pa.float64())))
        own = {b"ganbench": version("ganbench").encode()}
        packed = packed.replace_schema_metadata({**(packed.schema.metadata or {}), **own})
        parts = dataset.partitioning(pa.schema([("machine", pa.string())]), flavor="hive")
        dataset.write_dataset(packed, folder, format="parquet", partitioning=parts)
    except OSError as error:
        raise UsageError(
            f"cannot write {folder}: {error.strerror or error}; name another folder with --output"
        ) from error
    return sorted(folder.rglob("*.parquet"))
