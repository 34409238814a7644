"""What may be asked for by name: formats, charts and themes."""

RUN_FORMATS = ("table", "markdown", "csv", "json")  # in which a run, a sweep and a difference can be written
EXCHANGE_FORMATS = ("bmf", "github-action-benchmark")  # of services that watch speed over time: a run alone
PIVOT_FORMATS = ("table", "markdown", "csv", "latex", "json", "parquet")
CHARTS = ("ratios", "pays", "roofline", "scaling", "history", "memory", "training")
THEMES = ("light", "dark")
