"""SQL on everything that was measured: pack it as Parquet, query it with DuckDB.

    python examples/query_parquet.py

``ganbench results pack --output packed`` writes the same files; any tool that reads Parquet can take them.
"""

import tempfile
from pathlib import Path

import duckdb

import ganbench

RESULTS = Path(__file__).resolve().parents[1] / "results"

# Of each case the newest run, with the spread of its raw samples: seconds per iteration of every timed block.
QUERY = """
    SELECT machine, source, operation, target, dtype, threads,
           round(median_s * 1e6, 1) AS median_us,
           len(samples) AS blocks,
           round(list_max(samples) / list_min(samples), 2) AS slowest_over_fastest
    FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true)
    WHERE status = 'ok' AND median_s IS NOT NULL
    QUALIFY row_number() OVER (
        PARTITION BY machine, source, preset, operation, shape, target, dtype, precision, threads, framework_version
        ORDER BY timestamp DESC
    ) = 1
    ORDER BY machine, operation, median_s
"""

with tempfile.TemporaryDirectory() as folder:
    ganbench.report.pack(ganbench.load_results(RESULTS), folder)
    found = duckdb.sql(QUERY.format(folder=folder)).df()
print(found.to_string(index=False))
