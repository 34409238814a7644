"""Results as part of a report of your own: a matrix, a CSV, a chart where Altair is installed.

    python examples/report.py

reads the results of this repository and writes ratios.csv (and ratios.html) into the current folder.
"""

from pathlib import Path

import pandas as pd

import ganbench

RESULTS = Path(__file__).resolve().parents[1] / "results"

everything = ganbench.load_results(RESULTS)  # one row per run, operation and target
measured = everything[everything["status"] == "ok"]
print(f"{len(everything)} rows, {len(measured)} with a time, from {', '.join(everything['machine'].unique())}")

# Speed relative to the baseline. A cell may be a status: what failed is not hidden.
matrix = ganbench.report.ratio_matrix(everything)
print(f"\n{matrix.attrs['title']}\n")
print(matrix.to_string(float_format="{:.2f}".format, na_rep=""))
print(*matrix.attrs["notes"], sep="\n")
matrix.to_csv("ratios.csv")
print("\nwrote ratios.csv")

# From here on it is pandas. Long form, numbers alone, for whatever draws.
numbers = matrix.apply(pd.to_numeric, errors="coerce").reset_index()
long = numbers.melt(matrix.index.names, var_name="target", value_name="speed").dropna(subset="speed")
long["case"] = long[list(matrix.index.names)].astype(str).agg(" ".join, axis=1)
try:
    import altair as alt
except ImportError:
    print("no chart: pip install altair")
else:
    bars = alt.Chart(long, title=matrix.attrs["title"]).mark_bar().encode(
        x=alt.X("speed:Q", scale=alt.Scale(type="log")), y="target:N", color="target:N", row="case:N"
    )  # fmt: skip
    bars.save("ratios.html")
    print("wrote ratios.html")
